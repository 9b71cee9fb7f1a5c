/** The examples of docs/examples, as a user would check them. */
import { asyncProperty, array, assert, constantFrom, integer, record } from "fast-check";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { explore } from "../../src/index.ts";
// oxlint-disable-next-line import/no-unassigned-import -- it adds the matcher
import "../../src/vitest.ts";

const example = (name: string): URL => new URL(`../../docs/examples/${name}.ts`, import.meta.url);

test("the ring buffer delivers what was sent, for programs that are made up", async () => {
  const inputs = record({
    values: array(integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }),
    slots: constantFrom(1, 2),
  });
  await assert(
    asyncProperty(inputs, async (input) => {
      expect(await explore(example("ring-buffer"), { input, executions: 200 })).toHoldInEverySchedule();
    }),
    { numRuns: 30 },
  );
});

test("the barrier holds everybody, also when waits return by themselves", async () => {
  const input = { threads: 2 };
  const result = await explore(example("barrier"), { input, executions: 2000, spuriousWakeups: true });
  expect(result).toHoldInEverySchedule();
  expect(await explore(example("barrier"), { input, executions: 2000 })).toHoldInEverySchedule();
});

test("the planted bug of the sequence lock is found, and its schedule replays", async () => {
  const correct = { input: { isCorrect: true }, executions: 2000 };
  expect(await explore(example("seqlock"), correct)).toHoldInEverySchedule();
  const { failure } = await explore(example("seqlock"), { input: { isCorrect: false }, failures: null });
  expect(failure?.violations[0]?.message).toMatch(/^half a pair was read: /);
  const { schedule = "", violations } = failure ?? {};
  const again = await explore(example("seqlock"), { input: { isCorrect: false }, schedule });
  expect(again).toMatchObject({ executions: 1, failure: { violations, schedule } });
});

test("the first program of docs/own-code.md fails as the text says", async () => {
  const text = readFileSync(new URL("../../docs/own-code.md", import.meta.url), "utf8");
  const [, program = ""] = /```ts\n([^]*?)```/.exec(text) ?? [];
  const folder = mkdtempSync(join(tmpdir(), "umbra-own-code-"));
  const file = join(folder, "counter.ts");
  writeFileSync(file, program);
  const { failure } = await explore(pathToFileURL(file), { input: { threads: 2 }, failures: null });
  rmSync(folder, { recursive: true });
  expect(failure?.violations[0]?.message).toBe("counted 1");
  expect(failure?.after.preemptions).toBe(1);
});
