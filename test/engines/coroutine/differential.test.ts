/** Both builds are the same program: what one vCPU leaves behind is the same, to the last word of memory. */
import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { env } from "node:process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Conversation } from "./conversation.ts";
import type { Comparison, Question } from "./differential.ts";

const FOLDER = new URL("../../../scenarios/", import.meta.url);
const NAMES = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".ts"))
  .map((file) => basename(file, ".ts"));
const SCRIPTS = 2000;

let thread: Conversation;

beforeAll(() => {
  thread = new Conversation(new URL("differential.ts", import.meta.url), {
    scenarios: NAMES.map((name) => new URL(`${name}.ts`, FOLDER).href),
  });
});

afterAll(() => thread.end());

function ask(question: Question): Promise<Comparison> {
  return thread.ask(question);
}

const seed = Number(env["UMBRA_SEED"]);

test("scripts of guest operations, in every format and era", async () => {
  const comparison = await ask({ kind: "scripts", runs: SCRIPTS, seed, isTampered: false });
  expect(comparison).toMatchObject({ difference: null, compared: SCRIPTS });
  expect(comparison.operations).toBeGreaterThan(10 * SCRIPTS);
  expect(comparison.points).toBeGreaterThan(100 * SCRIPTS);
});

test("one store of another value in one of the builds is found, and cut down to that store", async () => {
  const { difference } = await ask({ kind: "scripts", runs: SCRIPTS, seed, isTampered: true });
  expect(difference).toMatch(/but .*; after \[\d+,\[\[2,\d+,\d+,\d+\]\]\]$/s);
});

test.each(NAMES)("%s at one vCPU", async (name) => {
  const comparison = await ask({ kind: "scenario", name, rounds: "4" });
  expect(comparison.difference).toBeNull();
  expect(comparison.points).toBeGreaterThan(100);
});

test.each(NAMES)("nothing of an execution of %s is left to the next", async (name) => {
  expect(await ask({ kind: "leaks", name, executions: 12, isTampered: false })).toMatchObject({
    compared: 12,
    difference: null,
  });
});

test("a word that is written behind the scheduler's back is seen to be left", async () => {
  const { difference } = await ask({
    kind: "leaks",
    name: "root-switching",
    executions: 1,
    isTampered: true,
  });
  expect(difference).toMatch(/^cell \d+/);
});
