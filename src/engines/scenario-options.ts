/** A scenario's own options, as people set them: `--set option=value`. */
import type { GuestFormat, OptionValue, Scenario, ScenarioOptions } from "../guest/scenario.ts";
import { UsageError } from "./errors.ts";
import { allowedNames } from "./usage.ts";

/**
 * The scenario's options with the assignments made. Throws UsageError for an option that neither the scenario nor the
 * machine has, whose names are given, or for a value of the wrong kind.
 */
export function scenarioOptions(
  scenario: Scenario,
  assignments: readonly (readonly [name: string, value: string])[],
  machineNames: readonly string[],
): ScenarioOptions {
  const options: Record<string, OptionValue> = { ...scenario.options };
  for (const [name, value] of assignments) {
    const current = Object.hasOwn(scenario.options, name) ? scenario.options[name] : undefined;
    if (current === undefined) {
      const known = allowedNames([...Object.keys(scenario.options), ...machineNames]);
      throw new UsageError(`--set ${name}: there is no such option; ${scenario.name} knows ${known}`);
    }
    options[name] = valueLike(current, { name, value, choices: scenario.choices?.[name] });
  }
  return options;
}

/** A value of the kind that the option has. */
function valueLike(
  current: OptionValue,
  given: { name: string; value: string; choices: readonly string[] | undefined },
): OptionValue {
  const { name, value, choices } = given;
  if (typeof current === "number") return numberLike(current, name, value);
  if (typeof current === "boolean") {
    if (!BOOLEANS.has(value)) throw new UsageError(`--set ${name} wants on or off, got "${value}"`);
    return BOOLEANS.get(value) === true;
  }
  if (choices !== undefined && !choices.includes(value)) {
    throw new UsageError(`--set ${name} wants ${allowedNames(choices)}, got "${value}"`);
  }
  return value;
}

/** An option that is whole stays so, and one that is not negative stays so. */
function numberLike(current: number, name: string, text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  const isWhole = Number.isInteger(current);
  const isValid = Number.isFinite(value) && (!isWhole || Number.isSafeInteger(value));
  if (!isValid || (value < 0 && current >= 0)) {
    throw new UsageError(`--set ${name} wants a ${isWhole ? "whole " : ""}number from 0, got "${text}"`);
  }
  return value;
}

const BOOLEANS = new Map([
  ["on", true],
  ["true", true],
  ["off", false],
  ["false", false],
]);

/** The format that a scenario is wanted in, its first when nobody says. Throws UsageError for one that it is not for. */
export function guestOf(scenario: Scenario, wanted: string | undefined): GuestFormat {
  const [first = "4level"] = scenario.guests;
  if (wanted === undefined) return first;
  const found = scenario.guests.find((each) => each === wanted);
  if (found !== undefined) return found;
  throw new UsageError(`--guest of ${scenario.name} wants ${allowedNames(scenario.guests)}, got "${wanted}"`);
}
