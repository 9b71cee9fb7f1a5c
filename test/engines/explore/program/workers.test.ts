/** Any number of threads finds the same. */
import { expect, test } from "vitest";
import { partsOf } from "../../../../src/engines/explore/program/parts.ts";
import { explore } from "../../../../src/index.ts";
import type { ExploreOptions, ProgramResult } from "../../../../src/index.ts";

const example = (name: string): URL => new URL(`../../../../docs/examples/${name}.ts`, import.meta.url);
const ring = { input: { values: [1, 2], slots: 1 }, executions: 2500 };

test.each<{ name: string; options: ExploreOptions }>([
  { name: "ring-buffer", options: ring },
  { name: "ring-buffer", options: { ...ring, strategy: "pct" } },
  { name: "barrier", options: { input: { threads: 2 }, executions: 1200, strategy: "urw" } },
  { name: "seqlock", options: { input: { isCorrect: true }, strategy: "dpor" } },
  { name: "seqlock", options: { input: { isCorrect: false }, strategy: "pos", failures: null } },
  { name: "seqlock", options: { input: { isCorrect: false }, executions: 4000, failures: null } },
])("$name, $options.strategy", async ({ name, options }) => {
  const results: ProgramResult[] = [];
  for (const workers of [1, 2, 3])
    // oxlint-disable-next-line no-await-in-loop -- one after another
    results.push(await explore(example(name), { ...options, workers }));
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test.each(["portfolio", "random", "dpor"] as const)(
  "the parts of %s are all executions, once",
  (strategy) => {
    for (const executions of [1, 3, 4, 499, 500, 501, 2000, 10_001]) {
      const parts = partsOf(strategy, executions);
      for (const isSearch of [true, false]) {
        let end = 0;
        for (const part of parts.filter((each) => each.isSearch === isSearch)) {
          expect(part.from).toBe(end);
          expect(part.to).toBeGreaterThan(end);
          end = part.to;
        }
      }
      expect(parts.reduce((sum, { from, to }) => sum + to - from, 0)).toBe(executions);
    }
  },
);

test("a number of workers that cannot be is told so", async () => {
  await expect(explore(example("seqlock"), { workers: 0 })).rejects.toThrow(/option workers .*0/);
});
