/** What the README shows is run. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { umbra } from "./umbra.ts";

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const folder = mkdtempSync(join(tmpdir(), "umbra-readme-"));

afterAll(() => {
  rmSync(folder, { recursive: true });
});

it("runs the README's own scenario from a folder outside the project, without a violation", async () => {
  const [, example = ""] = /```ts\n([\s\S]*?)```/.exec(README) ?? [];
  const file = join(folder, "mine.ts");
  writeFileSync(file, example);
  const run = await umbra(["stress", file, "--vcpus", "2", "--ops", "2000"]);
  expect(run.err).toBe("");
  expect(run.code).toBe(0);
  expect(run.out).toContain("no violations");
});

it("names only commands in the README that exist", async () => {
  const commands = new Set(Array.from(README.matchAll(/npx umbra ([a-z]+)/g), ([, name = ""]) => name));
  expect(commands.size).toBeGreaterThan(3);
  const help = await umbra(["--help"]);
  for (const command of commands) expect(help.out).toMatch(new RegExp(`^  ${command} `, "m"));
});
