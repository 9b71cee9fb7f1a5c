/**
 * One line that says what failed and how to see it again: what was explored, on which code, and the switches of the
 * schedule. Integers of the switches are variable-length, so that a minimised failure fits a terminal's line.
 */
import { UsageError } from "../../errors.ts";
import type { Directive } from "../directives.ts";
import type { ScenarioTarget } from "../target.ts";

/** What a token holds. */
export interface TokenContent {
  /** Name or path of the scenario. */
  readonly scenario: string;
  /** What differs from the scenario's small variant on the default machine: the command line's own words. */
  readonly settings: TokenSettings;
  readonly codeHash: string;
  readonly key: string;
  readonly directives: readonly Directive[];
}

/** The settings of a token, by the names of the command line. */
export interface TokenSettings {
  readonly vcpus: number;
  readonly guest: ScenarioTarget["guest"];
  readonly seed: number;
  readonly rounds: number;
  readonly preset: string;
  readonly mutant: string | null;
  /** Not the small variant. */
  readonly isWhole: boolean;
  readonly pointsMax: number;
  readonly set: readonly string[];
}

const HEADING = "umbra1";
const CONTINUES = 0x80;

/** A token of its content. */
export function writeToken({ scenario, settings, codeHash, key, directives }: TokenContent): string {
  const { vcpus, guest, seed, rounds, preset, mutant, isWhole, pointsMax, set } = settings;
  const query = new URLSearchParams({
    vcpus: String(vcpus),
    guest,
    seed: String(seed),
    rounds: String(rounds),
    preset,
    steps: String(pointsMax),
    ...(mutant === null ? {} : { mutant }),
    ...(isWhole ? { whole: "1" } : {}),
  });
  for (const each of set) query.append("set", each);
  return `${HEADING}:${encodeURIComponent(scenario)}?${query.toString()}:${codeHash}:${shortKey(key)}:${writeSchedule(directives)}`;
}

/** A key in letters that need no quoting, and not too many. */
export function shortKey(key: string): string {
  return key.replaceAll(/[^\w-]+/g, "-").slice(0, KEY_LENGTH);
}

/** A schedule's switches, as short as they can be said. */
export function writeSchedule(directives: readonly Directive[]): string {
  const values = [
    directives.length,
    ...directives.flatMap(({ thread, performed, next }) => [thread, performed, next]),
  ];
  return Buffer.from(values.flatMap((value) => varint(value))).toString("base64url");
}

const KEY_LENGTH = 40;

/** Takes a token apart. Throws UsageError when it is none, or was cut. */
export function readToken(token: string): TokenContent {
  const [heading, target = "", codeHash = "", key = "", schedule = "", ...rest] = token.trim().split(":");
  if (heading !== HEADING || rest.length > 0)
    throw new UsageError(`token "${shownToken(token)}": it begins with ${HEADING}: and has five parts`);
  const [scenario = "", queryText = ""] = target.split("?");
  const query = new URLSearchParams(queryText);
  const guest = query.get("guest");
  if (guest !== "2level" && guest !== "pae" && guest !== "4level")
    throw new UsageError(`token "${shownToken(token)}": its guest is not one of 2level, pae, 4level`);
  return {
    scenario: decodeURIComponent(scenario),
    settings: {
      vcpus: numberOf(query, "vcpus", token),
      guest,
      seed: numberOf(query, "seed", token),
      rounds: numberOf(query, "rounds", token),
      preset: query.get("preset") ?? "",
      mutant: query.get("mutant"),
      isWhole: query.has("whole"),
      pointsMax: numberOf(query, "steps", token),
      set: query.getAll("set"),
    },
    codeHash,
    key,
    directives: readSchedule(schedule, token),
  };
}

function numberOf(query: URLSearchParams, name: string, token: string): number {
  const value = Number(query.get(name) ?? "none");
  if (Number.isInteger(value) && value >= 0) return value;
  throw new UsageError(`token "${shownToken(token)}": its ${name} is no number`);
}

/** The switches of a schedule. Throws UsageError when it was cut. */
export function readSchedule(schedule: string, token: string): Directive[] {
  const values: number[] = [];
  let value = 0;
  let shift = 1;
  for (const byte of Buffer.from(schedule, "base64url")) {
    value += (byte & ~CONTINUES) * shift;
    shift *= CONTINUES;
    if ((byte & CONTINUES) !== 0) continue;
    values.push(value);
    value = 0;
    shift = 1;
  }
  const [count, ...rest] = values;
  if (count === undefined || shift !== 1 || rest.length !== 3 * count)
    throw new UsageError(`token "${shownToken(token)}": its schedule is incomplete`);
  return Array.from({ length: count }, (_, index) => ({
    thread: rest[3 * index] ?? 0,
    performed: rest[3 * index + 1] ?? 0,
    next: rest[3 * index + 2] ?? 0,
  }));
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= CONTINUES) {
    bytes.push((rest % CONTINUES) | CONTINUES);
    rest = Math.floor(rest / CONTINUES);
  }
  return [...bytes, rest];
}

/** The beginning of a token, for an error. */
export function shownToken(token: string): string {
  return token.length > SHOWN_LENGTH ? `${token.slice(0, SHOWN_LENGTH)}…` : token;
}

const SHOWN_LENGTH = 60;
