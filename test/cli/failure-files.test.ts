/** Failures that travel: to another checkout, another folder, another working directory. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { ExploreResult, ReplayResult } from "../../src/report/types.ts";
import { ROOT } from "../source.ts";
import { umbra } from "./umbra.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-failures-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function replayed(failure: string, cwd: string): Promise<ReplayResult> {
  const { out, err } = await umbra(["replay", failure, "--json", "-"], undefined, cwd);
  expect(err).toBe("");
  return JSON.parse(out);
}

test("a scenario of one's own fails again when its folder has moved, from inside it and from elsewhere", async () => {
  const [here, there] = [join(folder, "here"), join(folder, "there")];
  mkdirSync(here);
  cpSync(join(ROOT, "test/engines/stress/scenarios/breaks-promise.ts"), join(here, "mine.ts"));
  const args = ["explore", "./mine.ts", "--schedules", "1", "--seed", "5", "--json", "-"];
  const { code, out } = await umbra(args, undefined, here);
  expect(code).toBe(1);
  const result: ExploreResult = JSON.parse(out);
  const written = result.failures[0]?.folder ?? "";
  expect(readFileSync(join(here, written, "failure.json"), "utf8")).not.toContain(here);
  renameSync(here, there);
  const again = { fails: true, isSameCode: true, divergence: null };
  expect(await replayed(written, there)).toMatchObject(again);
  expect(await replayed(join(there, written), ROOT)).toMatchObject(again);
  renameSync(join(there, "mine.ts"), join(there, "yours.ts"));
  const { code: bad, err } = await umbra(["replay", written], undefined, there);
  expect(bad).toBe(2);
  expect(err).toMatch(/^umbra: failures\/\S+: target\.url: there is no file \S*\/mine\.ts\n$/);
  const none = await umbra(["replay", "failures"], undefined, there);
  expect([none.code, none.err]).toEqual([
    2,
    "umbra: failures: this folder has no failure.json: perhaps failures/latest\n",
  ]);
});

test("what comes with Umbra is named from where Umbra is", async () => {
  const args = ["explore", "m07", "--mutant", "m07", "--schedules", "1", "--seed", "1", "--json", "-"];
  const { code, out } = await umbra(args, undefined, folder);
  expect(code).toBe(1);
  const result: ExploreResult = JSON.parse(out);
  const written = join(folder, result.failures[0]?.folder ?? "", "failure.json");
  const text = readFileSync(written, "utf8");
  expect(text).not.toContain(ROOT);
  const file: { target: { url: string; mutant: string } } = JSON.parse(text);
  expect(file.target.url).toMatch(/^umbra:scenarios\/mutants\/m07-.*\.ts$/);
  expect(file.target.mutant).toBe(file.target.url);
  expect(await replayed(written, ROOT)).toMatchObject({ fails: true, isSameCode: true, divergence: null });
});

test("where no file can be written, that is told; what fails in another way is told too", async () => {
  const args = [
    "explore",
    "m07",
    "--mutant",
    "m07",
    "--schedules",
    "1",
    "--seed",
    "1",
    "--failures",
    "/dev/null",
  ];
  const { code, out } = await umbra(args, undefined, folder);
  expect(code).toBe(1);
  expect(out).toMatch(/^no files: \/dev\/null\/m07-\S+: ENOTDIR/m);
  const token = /umbra1:[^'\s]+/.exec(out)?.[0] ?? "";
  const renamed = token.split(":").with(3, "audit-foo").join(":");
  expect(renamed).not.toBe(token);
  const other = await umbra(["replay", renamed], undefined, folder);
  expect(other.out).toMatch(/does not fail with audit-foo any more, but with unguarded /);
  expect(other.code).toBe(1);
  const cut = token.replace(/steps=\d+/, "steps=20");
  const capped = await umbra(["replay", cut], undefined, folder);
  expect([capped.code, /inconclusive: cut at its bound/.test(capped.out)]).toEqual([3, true]);
});
