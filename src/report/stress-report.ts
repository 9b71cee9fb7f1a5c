/** A stress run as a text for people. */
import { lockTable, waitTables } from "./lock-table.ts";
import { outcomeText } from "./outcome-text.ts";
import type { RunSettings, StressResult, VcpuDiagnosis } from "./stress-result.ts";
import { count, counted, indent, seconds, table } from "./text.ts";
import type { Paint } from "./text.ts";
import { violationLines } from "./violation-lines.ts";

const COUNTER_COLUMNS = 3;

/** The whole report. */
export function stressReport(result: StressResult, paint: Paint): string {
  return [
    heading(result, paint),
    vcpuTable(result),
    `${paint.bold("locks")} ${paint.faint("(times in µs; holds are sampled, one in 64)")}`,
    lockTable(result.locks),
    ...waitTables(result.waits, result.lockPlaces, result.settings.vcpus),
    `${paint.bold("counters")} ${paint.faint("(those that are not 0; umbra list --counters explains them)")}`,
    counterColumns(result.counters),
    ...watchLine(result),
    ...stuckSection(result.stuck, paint),
    verdict(result, paint),
    "",
  ].join("\n");
}

function watchLine({ watch }: StressResult): string[] {
  if (watch === null) return [];
  const cost = watch.overhead === null ? "" : `, ${watch.overhead.toFixed(2)} times slower than without`;
  return [`watchpoints: ${watch.mode}, ${counted(watch.watchpoints, "cell")} watched${cost}`];
}

/** What was run, in one line. */
export function settingsLine(settings: RunSettings): string {
  const { scenario, guest, vcpus, seed, preset } = settings;
  return `${scenario}, ${guest} guest, ${counted(vcpus, "vCPU")}, preset ${preset}, seed ${String(seed)}`;
}

/** What was wrong, and how to see it again; one line when nothing was. */
export function verdict(
  result: Pick<StressResult, "command" | "outcome" | "reason" | "violations">,
  paint: Paint,
): string {
  const { outcome, reason, violations, command } = result;
  const lines: string[] = [];
  if (outcome !== "completed") lines.push(paint.bad(outcomeText(result)));
  else if (reason !== null) lines.push(reason);
  if (violations.length === 0) {
    lines.push(outcome === "completed" ? paint.good("no violations") : "no violations until then");
  } else {
    lines.push(paint.bad(counted(violations.length, "violation")), ...violationLines(violations));
  }
  if (violations.length > 0 || outcome === "stuck" || outcome === "worker-died") {
    lines.push(`to see it again: ${command}`);
  }
  return lines.join("\n");
}

function heading(result: StressResult, paint: Paint): string {
  const { settings, audits, parkedSeconds, tornDown } = result;
  const end = tornDown ? "; torn down and searched for leaks" : "; not torn down";
  return [
    paint.bold(settingsLine(settings)),
    `ran ${seconds(result.seconds)}; parked ${seconds(parkedSeconds)} for ${counted(audits, "audit")}${end}`,
  ].join("\n");
}

function vcpuTable({ vcpus, ...all }: StressResult): string {
  const rows = vcpus.map((row) => [
    String(row.vcpu),
    row.program,
    row.end,
    count(row.operations),
    count(row.operationsPerSecond),
    count(row.faults),
    count(row.faultsPerSecond),
  ]);
  const sum = [all.operations, all.operationsPerSecond, all.faults, all.faultsPerSecond].map((each) =>
    count(each),
  );
  return table(
    ["vCPU", "program", "end", "operations", "per second", "faults", "per second"],
    [...rows, ["all", "", "", ...sum]],
    3,
  );
}

/** Counters that are not 0, as a table read column by column. */
export function counterColumns(counters: Readonly<Record<string, number>>): string {
  const cells = Object.entries(counters).filter(([, value]) => value !== 0);
  if (cells.length === 0) return indent("none");
  const length = Math.ceil(cells.length / COUNTER_COLUMNS);
  const lines: string[] = [];
  for (let line = 0; line < length; line++) {
    const parts: string[] = [];
    for (let column = 0; column < COUNTER_COLUMNS; column++) {
      const [name = "", value = 0] = cells[column * length + line] ?? [];
      if (name !== "") parts.push(`${name.padEnd(22)} ${count(value).padStart(13)}`);
    }
    lines.push(parts.join("   "));
  }
  return indent(lines.join("\n"));
}

function stuckSection(stuck: readonly VcpuDiagnosis[], paint: Paint): string[] {
  if (stuck.length === 0) return [];
  return [paint.bold("who waits for what"), indent(stuck.map((each) => diagnosisLine(each)).join("\n"))];
}

/** One vCPU of a machine that is stuck, in one line. */
function diagnosisLine(each: VcpuDiagnosis): string {
  const parts = [
    `vCPU ${String(each.vcpu)} (${each.program}) is ${each.state}, last seen at ${each.doing}, last fault at ${each.address}`,
    `${counted(each.operations, "operation")}, none for ${seconds(each.stillSeconds)}`,
  ];
  if (each.waitsFor !== null) parts.push(`waits for ${each.waitsFor}`);
  if (each.holds.length > 0) parts.push(`holds ${each.holds.join(" and ")}`);
  return parts.join("; ");
}
