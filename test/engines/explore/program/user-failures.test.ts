/** Failures of users' programs: one token, files, and the commands that take them. */
import { appendFileSync, copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readInput, writeInput } from "../../../../src/engines/explore/program/input-text.ts";
import {
  readProgramToken,
  writeProgramToken,
} from "../../../../src/engines/explore/program/program-token.ts";
import { explore } from "../../../../src/index.ts";
import type { ProgramFailure, ProgramResult } from "../../../../src/index.ts";
// oxlint-disable-next-line import/no-unassigned-import -- it adds the matcher
import "../../../../src/vitest.ts";
import { umbra } from "../../../cli/umbra.ts";

const SEQLOCK = new URL("../../../../docs/examples/seqlock.ts", import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "umbra-failures-"));
const program = join(folder, "mine.ts");

let result: ProgramResult;
let failure: ProgramFailure;

beforeAll(async () => {
  copyFileSync(fileURLToPath(SEQLOCK), program);
  result = await explore(pathToFileURL(program), { input: { isCorrect: false }, failures: folder });
  if (result.failure === null) throw new Error("the planted bug was not found");
  ({ failure } = result);
});

afterAll(() => rmSync(folder, { recursive: true }));

test("a failure is minimised and explained, and names threads and places as people do", () => {
  expect(failure.threads).toEqual(["main", "writer"]);
  expect(failure.after.preemptions).toBeLessThanOrEqual(2);
  expect(failure.orders?.length).toBeGreaterThan(0);
  expect(failure.violations[0]?.message).toMatch(/^half a pair was read: /);
  expect(failure.folder).toMatch(/mine-[0-9a-f]{8}$/);
});

test("places in modules below the working directory are told from there", async () => {
  const options = { input: { isCorrect: false }, failures: null };
  const { failure: seen } = await explore(SEQLOCK, options);
  expect(seen?.trace.map(({ site }) => site)).toContain("docs/examples/seqlock.ts:12");
  expect(seen?.token).toMatch(/^umbra1-program:docs%2Fexamples%2Fseqlock\.ts\?\S+$/);
  expect(seen?.folder).toBeNull();
});

test("the matcher's message has the cause, the orders and the command", () => {
  expect(() => expect(result).toHoldInEverySchedule()).toThrow(
    `to see it again: npx umbra replay '${failure.token}'`,
  );
  expect(() => expect(result).toHoldInEverySchedule()).toThrow(
    /main: half a pair was read[^]*it needs these orders[^]*files: /,
  );
});

test.each(["replay", "minimise", "explain"])("umbra %s takes the token and the folder", async (command) => {
  for (const what of [failure.token, failure.folder ?? ""]) {
    // oxlint-disable-next-line no-await-in-loop -- one process at a time
    const { code, out } = await umbra([command, what]);
    expect(out).toMatch(/half a pair was read[^]*fails again with assertion/);
    expect(out).not.toMatch(/the code has changed/);
    expect(code).toBe(1);
  }
});

test("a token and a file from other code say so", async () => {
  const other = join(folder, "other.ts");
  copyFileSync(fileURLToPath(SEQLOCK), other);
  const found = await explore(pathToFileURL(other), { input: { isCorrect: false }, failures: folder });
  appendFileSync(other, "// changed\n");
  const { code, out } = await umbra(["replay", found.failure?.token ?? ""]);
  expect(out).toMatch(/^the code has changed since this was found/);
  expect(code).toBe(1);
  expect((await umbra(["replay", found.failure?.folder ?? ""])).out).toMatch(/^the code has changed/);
});

test.each([
  {
    name: "a module that is gone",
    token: (whole: string) => whole.replace("mine.ts", "gone.ts"),
    says: /gone\.ts/,
  },
  {
    name: "a token without its schedule",
    token: (whole: string) => whole.replace(/:[^:]*$/, ":"),
    says: /five parts/,
  },
  {
    name: "a token that was cut",
    token: (whole: string) => whole.slice(0, -3),
    says: /schedule is incomplete/,
  },
  {
    name: "an input that is none",
    token: (whole: string) => whole.replace("input=", "input=%5B"),
    says: /is no JSON/,
  },
])("one line for $name", async ({ token, says }) => {
  const { code, err, out } = await umbra(["replay", token(failure.token)]);
  expect(err).toMatch(says);
  expect(err.trim().split("\n")).toHaveLength(1);
  expect({ code, out }).toEqual({ code: 2, out: "" });
});

test("one line for a module that can no longer be explored", async () => {
  const refused = join(folder, "refused.ts");
  copyFileSync(fileURLToPath(SEQLOCK), refused);
  const found = await explore(pathToFileURL(refused), { input: { isCorrect: false }, failures: null });
  writeFileSync(refused, "export default async function main(a) { Atomics.load(a, 0); }\n");
  const { code, err } = await umbra(["replay", found.failure?.token ?? ""]);
  expect(err).toMatch(/refused\.ts:1: the async function main reaches shared memory\n$/);
  expect(code).toBe(2);
  expect(existsSync(join(folder, "latest"))).toBe(true);
});

test("tokens and inputs say what was put into them", () => {
  const inputs = fc.oneof(fc.jsonValue(), fc.constantFrom(undefined, 7n, new Map([[1, "one"]]), [undefined]));
  const directives = fc.array(fc.record({ thread: fc.nat(31), performed: fc.nat(1e6), next: fc.nat(31) }));
  fc.assert(
    fc.property(inputs, directives, fc.boolean(), (input, schedule, hasSpuriousWakeups) => {
      const text = writeInput(input);
      expect(readInput(text)).toEqual(input);
      const content = {
        target: { kind: "program", module: "../a b/c:d?.ts", input: text, hasSpuriousWakeups, pointsMax: 20 },
        codeHash: "0123abcd",
        key: "race",
        directives: schedule,
      } as const;
      const token = writeProgramToken(content);
      expect(token).toMatch(/^\S+$/);
      expect(readProgramToken(token)).toEqual(content);
    }),
  );
  expect(() => writeInput(() => 1)).toThrow(/^input: must be plain data/);
});
