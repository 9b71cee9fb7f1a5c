/** What there is to run and to set, as a text for people. */
import type { ListResult } from "./list-result.ts";
import { indent } from "./text.ts";
import type { Paint } from "./text.ts";

/** The parts of the list that were asked for. */
export function listReport(list: ListResult, paint: Paint): string {
  return [...scenarioLines(list, paint), ...optionLines(list, paint), ...counterLines(list, paint), ""].join(
    "\n",
  );
}

function scenarioLines({ scenarios, traces }: ListResult, paint: Paint): string[] {
  const lines: string[] = [];
  for (const { name, about, guests, vcpus, options, choices } of scenarios) {
    const counts =
      vcpus.min === vcpus.max ? String(vcpus.min) : `${String(vcpus.min)} to ${String(vcpus.max)}`;
    const own = Object.entries(options).map(([option, value]) => {
      const allowed = choices[option];
      return `${option}=${String(value)}${allowed === undefined ? "" : ` (${allowed.join(" | ")})`}`;
    });
    const set = own.length === 0 ? "" : `; options ${own.join(", ")}`;
    lines.push(
      paint.bold(name),
      indent(about),
      indent(paint.faint(`${guests.join(", ")}; ${counts} vCPUs${set}`)),
    );
  }
  if (traces.length > 0) lines.push(paint.bold("recorded guests"), ...traces.map((trace) => indent(trace)));
  return lines;
}

function optionLines({ options, presets }: ListResult, paint: Paint): string[] {
  const lines: string[] = [];
  if (options.length > 0) lines.push(paint.bold("settings of every machine, for --set"));
  for (const { name, values, default: normal, about } of options) {
    lines.push(indent(`${name}=${values}`), indent(paint.faint(`  ${about}; ${normal} unless set`)));
  }
  if (presets.length > 0) lines.push(paint.bold("presets, for --preset and --vs"));
  for (const { name, on } of presets) {
    lines.push(indent(`${name.padEnd(12)} ${on.length === 0 ? "every switch off" : `on: ${on.join(", ")}`}`));
  }
  return lines;
}

function counterLines({ counters }: ListResult, paint: Paint): string[] {
  if (counters.length === 0) return [];
  return [
    paint.bold("counters"),
    ...counters.map(({ name, about }) => indent(`${name.padEnd(22)} ${about}`)),
  ];
}
