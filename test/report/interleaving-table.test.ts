/** The table of who did what when: nothing makes it fail, and no line is too wide. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { interleavingTable, rowText } from "../../src/report/interleaving-table.ts";
import type { TraceRow } from "../../src/report/types.ts";

const ROW: TraceRow = {
  step: 1,
  thread: 0,
  action: "storeWord",
  object: "paging lock held",
  before: "0x0",
  after: "0x1",
  site: "src/locks/lock.ts:202",
  within: "RecursiveLock.acquire",
  conflicts: true,
  isPending: false,
  switched: null,
};

const THREADS = ["vCPU 0", "vCPU 1"];

function rows(...changes: readonly Partial<TraceRow>[]): TraceRow[] {
  return changes.map((change, index) => Object.assign({}, ROW, { step: index + 1 }, change));
}

test("what a failure needs stands out, locks and flushes are events, the rest is folded", () => {
  const trace = rows(
    {},
    { object: "mfn 0x2a word 4", after: null },
    { object: "mfn 0x2a word 6", after: null },
    {
      thread: 1,
      switched: "preempted",
      action: "storeEntry",
      object: "mfn 0x2a word 8",
      before: "0x5",
      after: "0x7",
    },
    { thread: 1, object: "vCPU 0 flushRequested", before: "0x3", after: "0x4" },
    { thread: 0, switched: "blocked", object: "vCPU 0 flushAcknowledged", before: "0x3", after: "0x4" },
    { before: "0x1", after: "0x0" },
    {
      thread: 1,
      isPending: true,
      action: "waitWhile",
      object: "paging lock held",
      before: "0x1",
      after: null,
    },
  );
  const lines = interleavingTable({ trace, threads: THREADS, orders: [{ first: 4, second: 6 }] }, 70, "min");
  expect(lines).toEqual(
    [
      "       vCPU 0                         vCPU 1",
      "     1 takes the paging lock",
      "       … 2 operations of vCPU 0",
      "── switch to vCPU 1 (preempted) ──",
      "    ▶4                                storeEntry mfn 0x2a word 8: 0x5 → 0x7",
      "                                        RecursiveLock.acquire src/locks/lock.…",
      "     5                                asks vCPU 0 to flush",
      "── switch to vCPU 0 (the other is blocked) ──",
      "    ▶6 storeWord vCPU 0 flushAcknowledged: 0x3 → 0x4",
      "         RecursiveLock.acquire src/locks/lock.ts:202",
      "     7 gives up the paging lock",
      "     8                                waits for waitWhile paging lock held: 0…",
      "                                        RecursiveLock.acquire src/locks/lock.…",
    ].map((line) => (line.length > 70 ? `${line.slice(0, 69)}…` : line)),
  );
});

test("every operation is shown when all are asked for", () => {
  const trace = rows({}, { object: "mfn 0x2a word 4", after: null });
  const lines = interleavingTable({ trace, threads: THREADS, orders: [] }, 160, "full");
  expect(lines.length).toBe(1 + 2 * trace.length);
  expect(rowText(ROW, THREADS)).toBe(
    "1 vCPU 0: storeWord paging lock held: 0x0 → 0x1, in RecursiveLock.acquire (src/locks/lock.ts:202)",
  );
});

const anyText = fc.string({ unit: "grapheme-ascii", maxLength: 60 });
const anyRow: fc.Arbitrary<Partial<TraceRow>> = fc.record({
  thread: fc.nat(5),
  action: anyText,
  object: fc.oneof(anyText, fc.constantFrom("paging lock held", "vCPU 1 flushRequested")),
  before: anyText,
  after: fc.option(anyText, { nil: null }),
  site: anyText,
  within: anyText,
  isPending: fc.boolean(),
  switched: fc.constantFrom("preempted", "blocked", "ended", null),
});

test("whatever the trace is, no line is wider than it may be, and every wanted step is there", () => {
  fc.assert(
    fc.property(
      fc.array(anyRow, { maxLength: 30 }),
      fc.array(anyText, { maxLength: 4 }),
      fc.integer({ min: 40, max: 200 }),
      fc.array(fc.tuple(fc.nat(40), fc.nat(40)), { maxLength: 5 }),
      fc.constantFrom("min" as const, "full" as const),
      (changes, threads, width, pairs, detail) => {
        const orders = pairs.map(([first, second]) => ({ first, second }));
        const lines = interleavingTable({ trace: rows(...changes), threads, orders }, width, detail);
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
        const wanted = orders.flatMap(({ first, second }) => [first, second]);
        const missing = wanted.filter(
          (step) =>
            step >= 1 &&
            step <= changes.length &&
            !lines.some((line) => line.trimStart().startsWith(`▶${String(step)}`)),
        );
        expect(missing).toEqual([]);
      },
    ),
  );
});
