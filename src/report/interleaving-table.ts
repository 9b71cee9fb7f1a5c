/** Who did what when: one column a thread, folded where nothing conflicts. Never wider than it may be. */
import type { ExploreFailure, TraceRow } from "./explore-result.ts";
import type { TraceDetail } from "./explore-report.ts";

const NUMBER_WIDTH = 7;
const COLUMN_LEAST = 24;

/** The lines of the table. With `min`, operations whose order does not matter are folded. */
export function interleavingTable(
  { trace, threads, orders }: Pick<ExploreFailure, "trace" | "threads" | "orders">,
  width: number,
  detail: TraceDetail,
): string[] {
  const column = Math.max(COLUMN_LEAST, Math.floor((width - NUMBER_WIDTH) / Math.max(1, threads.length)));
  const wanted = new Set((orders ?? []).flatMap(({ first, second }) => [first, second]));
  const lines = [cut(" ".repeat(NUMBER_WIDTH) + threads.map((name) => name.padEnd(column)).join(""), width)];
  let folded: TraceRow[] = [];
  const unfold = (): void => {
    if (folded.length > 0) lines.push(foldLine(folded, threads, column, width));
    folded = [];
  };
  for (const row of trace) {
    const event = wanted.has(row.step) || detail === "full" ? null : eventText(row);
    if (event !== null || isShown(row, wanted, detail)) {
      unfold();
      if (row.switched !== null) lines.push(switchLine(row, threads, width));
      if (event === null) lines.push(...rowLines(row, wanted.has(row.step), column, width));
      else lines.push(cut(`${numberText(row, false)} ${" ".repeat(column * row.thread)}${event}`, width));
      continue;
    }
    if (row.switched !== null) {
      unfold();
      lines.push(switchLine(row, threads, width));
    }
    folded.push(row);
  }
  unfold();
  return lines;
}

function isShown({ isPending, step }: TraceRow, wanted: ReadonlySet<number>, detail: TraceDetail): boolean {
  return detail === "full" || isPending || wanted.has(step);
}

/** What a change of a lock word or a flush mailbox means; null for any other operation. */
function eventText({ object, before, after }: TraceRow): string | null {
  if (after === null) return null;
  const lock = /^(\w+) lock held$/.exec(object)?.[1];
  if (lock !== undefined) return `${before === "0x0" ? "takes" : "gives up"} the ${lock} lock`;
  const asked = /^(.+) flushRequested$/.exec(object)?.[1];
  if (asked !== undefined) return `asks ${asked} to flush`;
  const flushed = /^(.+) flushAcknowledged$/.exec(object)?.[1];
  return flushed === undefined ? null : `${flushed} says that it has flushed`;
}

function rowLines(row: TraceRow, isWanted: boolean, column: number, width: number): string[] {
  const { thread, action, object, site, within, isPending } = row;
  const number = numberText(row, isWanted);
  const margin = " ".repeat(column * thread);
  return [
    cut(`${number} ${margin}${isPending ? "waits for " : ""}${action} ${object}: ${valueText(row)}`, width),
    cut(`${" ".repeat(NUMBER_WIDTH)}${margin}  ${within} ${site}`, width),
  ];
}

/** One operation in one line, with its thread. */
export function rowText(row: TraceRow, threads: readonly string[]): string {
  const { step, thread, action, object, site, within } = row;
  return `${String(step)} ${threads[thread] ?? ""}: ${action} ${object}: ${valueText(row)}, in ${within} (${site})`;
}

function numberText({ step }: TraceRow, isWanted: boolean): string {
  return `${isWanted ? "▶" : " "}${String(step)}`.padStart(NUMBER_WIDTH - 1);
}

function valueText({ before, after }: TraceRow): string {
  return after === null ? before : `${before} → ${after}`;
}

function foldLine(
  folded: readonly TraceRow[],
  threads: readonly string[],
  column: number,
  width: number,
): string {
  const [first] = folded;
  const name = threads[first?.thread ?? 0] ?? "";
  const what = folded.length === 1 ? "1 operation" : `${String(folded.length)} operations`;
  return cut(`${" ".repeat(NUMBER_WIDTH + column * (first?.thread ?? 0))}… ${what} of ${name}`, width);
}

function switchLine({ switched, thread }: TraceRow, threads: readonly string[], width: number): string {
  const why =
    switched === "preempted"
      ? "preempted"
      : switched === "blocked"
        ? "the other is blocked"
        : "the other has ended";
  return cut(`── switch to ${threads[thread] ?? ""} (${why}) ──`, width);
}

function cut(text: string, width: number): string {
  const trimmed = text.trimEnd();
  return trimmed.length <= width ? trimmed : `${trimmed.slice(0, width - 1)}…`;
}
