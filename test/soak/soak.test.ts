/** The soak leaves nothing out, and what fails in it is told. */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { PRESET_NAMES } from "../../src/engines/machine-settings.ts";
import { bundledScenarios } from "../../src/engines/scenario-files.ts";
import { ROOT } from "../source.ts";
import { soakPlan } from "./soak-plan.ts";

const SOAK = join(ROOT, "test/soak/soak.ts");

test("every scenario runs under every preset and in hap, with two and eight vCPUs, and is explored", async () => {
  const names = (await soakPlan("20", undefined)).map(({ name }) => name);
  for (const scenario of bundledScenarios())
    for (const machine of [...PRESET_NAMES, "hap"])
      for (const part of [
        `stress ${scenario}, ${machine}, 2 vCPUs`,
        `stress ${scenario}, ${machine}, 8 vCPUs`,
        `explore ${scenario}, ${machine}, `,
      ])
        expect([part, names.filter((name) => name.startsWith(part)).length]).toEqual([part, 1]);
});

test("the formats of a guest take turns under every machine", async () => {
  const plan = await soakPlan("1", "7");
  const formats = new Set(plan.flatMap(({ args }) => [args[args.indexOf("--guest") + 1]]));
  expect(formats).toEqual(new Set(["2level", "pae", "4level"]));
  for (const { args } of plan) expect(args.join(" ")).toContain("--seconds 1 --seed 7");
});

test("a part of it runs, and says so", () => {
  const only = "stress root-switching, hap, 2 vCPUs";
  const text = execFileSync(process.execPath, [SOAK, "--seconds", "1", "--seed", "1", "--only", only], {
    encoding: "utf8",
  });
  expect(text.replaceAll(/in \d+ s/g, "in N s")).toMatch(
    /^1 runs of 1 s each\nstress root-switching, hap, 2 vCPUs, \w+: ok\n1 runs in N s, no violation\n$/,
  );
});

test("a run that fails is shown, and the exit code is not 0", () => {
  const { status, stdout } = spawnSync(
    process.execPath,
    [SOAK, "--seconds", "never", "--seed", "1", "--only", "stress root-switching, hap, 2 vCPUs"],
    { encoding: "utf8" },
  );
  expect(status).toBe(5);
  expect(stdout).toMatch(/hap, 2 vCPUs, \w+: exit code 2\numbra: --seconds wants .*\n/);
  expect(stdout).toContain("1 failed");
});
