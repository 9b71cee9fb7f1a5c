/** What `umbra trace verify` prints. */
import { outcomeText } from "./outcome-text.ts";
import { count, counted, seconds, table } from "./text.ts";
import type { Paint } from "./text.ts";
import type { VerifyResult } from "./verify-result.ts";
import { violationLines } from "./violation-lines.ts";

/** All mismatches of a result together. */
export function mismatchesOf(result: VerifyResult): number {
  const { fillMismatches, faultMismatches, storeMismatches, tableMismatches } = result;
  return fillMismatches + faultMismatches + storeMismatches + (tableMismatches ?? 0);
}

/** How many records were replayed, out of how many if not all were. */
export function recordsText({ records, replayed }: Pick<VerifyResult, "records" | "replayed">): string {
  const all = counted(records, "record");
  return replayed === records ? all : `${count(replayed)} of ${all}`;
}

/** A result as text, ending in a newline. */
export function verifyText(result: VerifyResult, paint: Paint): string {
  const { file, vcpus, order, preset } = result;
  return [
    paint.bold(`${file}: ${recordsText(result)} of ${counted(vcpus, "CPU")}`),
    `${order} order, preset ${preset}, ${seconds(result.seconds)}`,
    comparisons(result),
    evidence(result),
    ...mismatchLines(result),
    ...verdict(result, paint),
    "",
  ].join("\n");
}

function comparisons(result: VerifyResult): string {
  const { tableMismatches, legalDifferences, legalRights } = result;
  const compared = table(
    ["compared", "number", "mismatches"],
    [
      ["translations", count(result.fills), count(result.fillMismatches)],
      ["page faults", count(result.faults), count(result.faultMismatches)],
      ["stores to tables", count(result.stores), count(result.storeMismatches)],
      ["tables at the end", "", tableMismatches === null ? "not compared" : count(tableMismatches)],
    ],
  );
  if (legalDifferences === 0) return compared;
  const lines = [compared];
  const marks = legalDifferences - legalRights;
  if (marks > 0)
    lines.push(`  ${counted(marks, "A bit")} left unset, as a TLB that keeps its translation leaves it`);
  if (legalRights > 0)
    lines.push(
      `  ${counted(legalRights, "access", "accesses")} with rights of before, as such a TLB still grants them`,
    );
  return lines.join("\n");
}

/** What the machine had to do with it: its shadows, or in hap its hardware. */
function evidence(result: VerifyResult): string {
  const isHap = result.machine["paging"] === "hap";
  return table(
    [isHap ? "through the p2m tables" : "through the shadows", "number"],
    [
      ["TLB hits", count(result.tlbHits)],
      ...(isHap ? hapRows(result) : shadowRows(result)),
      ["TLB flushes", count(result.flushes)],
      ["paging lock taken", count(result.lockAcquisitions)],
      ["hand-overs between threads", count(result.handovers)],
    ],
  );
}

function shadowRows(result: VerifyResult): string[][] {
  return [
    ["shadow walks", count(result.shadowWalks)],
    ["page-fault exits", count(result.demandFaults)],
    ["emulated stores", count(result.emulatedStores)],
    ["device writes", count(result.deviceWrites)],
    ["MMIO accesses", count(result.mmio)],
    ["unshadowings", count(result.unshadows)],
  ];
}

function hapRows({ counters, deviceWrites, mmio }: VerifyResult): string[][] {
  return [
    ["two-dimensional walks", count(counters["nested_walks"] ?? 0)],
    ["nested-fault exits", count(counters["nested_faults"] ?? 0)],
    ["page faults without an exit", count(counters["native_faults"] ?? 0)],
    ["exits of all kinds", count(counters["exits"] ?? 0)],
    ["device writes", count(deviceWrites)],
    ["MMIO accesses", count(mmio)],
  ];
}

function mismatchLines(result: VerifyResult): string[] {
  const { first } = result;
  const rest = mismatchesOf(result) - first.length;
  const lines = first.flat();
  if (rest > 0) lines.push(`and ${mismatchCount(rest)} more`);
  return lines;
}

function verdict(result: VerifyResult, paint: Paint): string[] {
  const { outcome, violations, command } = result;
  const mismatches = mismatchesOf(result);
  const lines: string[] = [];
  if (outcome !== "completed") lines.push(paint.bad(outcomeText(result)));
  if (violations.length > 0) {
    lines.push(paint.bad(counted(violations.length, "violation")), ...violationLines(violations));
  }
  const isFlawless = mismatches === 0 && violations.length === 0;
  if (isFlawless && outcome === "completed") lines.push(paint.good("everything agrees with the recording"));
  else if (isFlawless) lines.push("everything agreed with the recording until then");
  else if (mismatches > 0) lines.push(paint.bad(mismatchCount(mismatches)));
  if (!isFlawless || outcome === "stuck" || outcome === "worker-died") {
    lines.push(`to see it again: ${command}`);
  }
  return lines;
}

function mismatchCount(value: number): string {
  return `${count(value)} ${value === 1 ? "mismatch" : "mismatches"}`;
}
