/** What Umbra says about itself. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { COUNTER_NAMES } from "../../src/memory/counters.ts";
import { SETTING_NAMES } from "../../src/engines/machine-settings.ts";
import type { ListResult } from "../../src/report/types.ts";
import { ROOT } from "../source.ts";
import { umbra } from "./umbra.ts";

const COMMANDS = ["start", "stress", "trace", "conform", "snapshot", "calibrate", "list"];

test("--version is that of the package", async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  expect(await umbra(["--version"])).toEqual({ code: 0, out: `${version}\n`, err: "" });
});

test("--help names every command", async () => {
  const { code, out, err } = await umbra(["--help"]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command} `, "m"));
});

test.each([
  ...COMMANDS.filter((name) => name !== "trace" && name !== "snapshot").map((name) => [name]),
  ["trace", "verify"],
  ["trace", "info"],
  ["trace", "cut"],
  ["snapshot", "verify"],
])("umbra %s %s --help shows an example that is the command's own", async (...names) => {
  const command = names.filter((name) => name !== undefined && name !== "").join(" ");
  const { code, out, err } = await umbra([...command.split(" "), "--help"]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(out).toMatch(new RegExp(`^Usage: umbra ${command} `));
  expect(out).toMatch(new RegExp(`\\nExamples?:\\n  umbra ${command}`));
});

test("list names every scenario, option and counter", async () => {
  const lists = await Promise.all(
    [[], ["--options"], ["--counters"]].map((flags) => umbra(["list", ...flags, "--json", "-"])),
  );
  const [scenarios, options, counters] = lists.map(({ out }) => JSON.parse(out) as ListResult);
  expect(scenarios?.scenarios.length).toBeGreaterThan(0);
  expect(scenarios?.options).toEqual([]);
  expect(options?.options.map(({ name }) => name)).toEqual(SETTING_NAMES);
  expect(options?.presets.map(({ name }) => name)).toEqual(["talk-before", "talk", "xen-3.3", "umbra"]);
  expect(counters?.counters.map(({ name }) => name)).toEqual(COUNTER_NAMES);
});
