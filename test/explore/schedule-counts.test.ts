/** How many schedules there are, by brute force and by source-DPOR: the figures of concurrency 3.8. */
import * as fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { LabThread } from "./lab.ts";
import type { Instruction, InstructionName } from "./programs/generated.ts";

const lab = new LabThread();
afterAll(() => lab.close());

const ALL = { options: { seed: 1 }, executionsMax: 1e5 };

/**
 * Of each program: interleavings, and how many are left when equivalent ones count once. The published counts of
 * `reorder_3` and `lazy01` are those of assertions that write what they found into a cell, which is one more operation;
 * those of the others, of assertions that end the execution, which differs for `stringbuffer` alone.
 */
const COUNTS = [
  { program: "increments2", schedules: 19, traces: 4 },
  { program: "increments3", schedules: 1121, traces: 36 },
  { program: "reader1Writer1", schedules: 6, traces: 2 },
  { program: "readers3", schedules: 2800, traces: 8 },
  { program: "deadlock01", schedules: 90, traces: 3 },
  { program: "carter01", schedules: 18_402, traces: 4 },
  { program: "phase01", schedules: 17, traces: 6 },
  { program: "sync01", schedules: 8, traces: 3 },
  { program: "twoStage", schedules: 1642, traces: 3 },
  { program: "bluetooth", schedules: 968, traces: 10 },
  { program: "account", schedules: 58, traces: 6 },
  { program: "stringBuffer", schedules: 238, traces: 6 },
  { program: "tokenRing", schedules: 1729, traces: 24 },
  { program: "reorder3Recorded", schedules: 3173, traces: 56 },
  { program: "reorder3", schedules: 2827, traces: 56 },
  { program: "lazy01Recorded", schedules: 1241, traces: 6 },
  { program: "lazy01", schedules: 931, traces: 6 },
];

test.each(COUNTS)(
  "$program has $schedules schedules, of $traces traces",
  async ({ program, schedules, traces }) => {
    const observed = await lab.ask("observe", { ...ALL, program, strategy: "dfs", withForms: true });
    expect(observed).toMatchObject({ executions: schedules, schedules, isExhausted: true });
    expect(observed.forms).toHaveLength(traces);
    expect(observed.hashes).toBe(traces);
  },
);

test.each(COUNTS)("source-DPOR executes $program once for each trace", async ({ program, traces }) => {
  const observed = await lab.ask("observe", { ...ALL, program, strategy: "dpor", withForms: true });
  expect(observed).toMatchObject({ executions: traces, whole: traces, isExhausted: true, remaining: 0 });
  expect(observed.forms).toHaveLength(traces);
  expect(observed.completed).toBe(`no failure in any schedule (${String(traces)} executions for all)`);
});

test("stringbuffer has 168 schedules when the assertion ends the execution", async () => {
  const fatal = { ...ALL, program: "stringBuffer", strategy: "dfs", isFatal: true } as const;
  expect(await lab.ask("observe", fatal)).toMatchObject({ executions: 168 });
});

/** What the published search missed, ours misses too. */
test.each([
  { program: "lazy01", found: 6, all: 10 },
  { program: "reorder3", found: 46, all: 52 },
])(
  "of $all traces of $program, source-DPOR sees $found when the assertion ends the execution, and says so",
  async ({ program, found, all }) => {
    const fatal = { ...ALL, program, isFatal: true, withForms: true };
    const brute = await lab.ask("observe", { ...fatal, strategy: "dfs" });
    const reduced = await lab.ask("observe", { ...fatal, strategy: "dpor" });
    expect([brute.forms.length, reduced.forms.length]).toEqual([all, found]);
    expect(reduced.completed).toMatch(/^inconclusive: \d+ of \d+ executions were cut short$/);
  },
);

const CELL = fc.integer({ min: 0, max: 1 });
const ACCESSES: readonly InstructionName[] = ["load", "store", "add", "swapIfZero", "swapIfOne", "fill"];
const ALONE: readonly InstructionName[] = [...ACCESSES, "load", "store", "waitSet", "signal", "broadcast"];

function one(names: readonly InstructionName[]): fc.Arbitrary<Instruction> {
  return fc.tuple(fc.constantFrom(...names), CELL);
}

/** A lock's section, with one access or a wait for a signal inside; now and then the lock is never given up. */
const SECTION: fc.Arbitrary<Instruction[]> = fc
  .tuple(fc.oneof(one(ACCESSES), fc.constant("suspend" as const)), CELL, fc.nat(7))
  .map(([inside, lock, leaves]) => {
    const section: Instruction[] = [["enter", lock], inside === "suspend" ? ["suspend", lock] : inside];
    return leaves === 0 ? section : section.concat([["leave", lock]]);
  });

const THREAD = fc
  .array(
    fc.oneof({ weight: 4, arbitrary: one(ALONE).map((each) => [each]) }, { weight: 1, arbitrary: SECTION }),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  .map((parts) => parts.flat().slice(0, 4));

const PROGRAMS = fc.record({
  threads: fc.array(THREAD, { minLength: 2, maxLength: 3 }),
  joins: fc.boolean(),
});

test("source-DPOR misses no trace and no outcome of a program that was drawn at random", async () => {
  await fc.assert(
    fc.asyncProperty(PROGRAMS, async (instructions) => {
      const common = { ...ALL, program: "generated", instructions, withForms: true, executionsMax: 5000 };
      const brute = await lab.ask("observe", { ...common, strategy: "dfs" });
      fc.pre(brute.isExhausted);
      const reduced = await lab.ask("observe", { ...common, strategy: "dpor" });
      expect(brute.hashes).toBe(brute.forms.length);
      expect(reduced.forms.toSorted()).toEqual(brute.forms.toSorted());
      expect(reduced.outcomes.toSorted()).toEqual(brute.outcomes.toSorted());
      expect(reduced.whole).toBeLessThanOrEqual(brute.whole);
    }),
    { numRuns: 100 },
  );
});
