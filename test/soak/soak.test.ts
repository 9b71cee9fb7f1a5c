/** The soak leaves nothing out, and what fails in it is told. */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { PRESET_NAMES } from "../../src/engines/machine-settings.ts";
import { bundledScenarios, loadScenario } from "../../src/engines/scenario-files.ts";
import { ROOT } from "../source.ts";
import { soakCases, soakPlan } from "./soak-plan.ts";

const SOAK = join(ROOT, "test/soak/soak.ts");

test("every scenario runs under every preset, with per-page locks and in hap, with two and eight vCPUs, and is explored", async () => {
  const names = (await soakPlan("20", undefined)).map(({ name }) => name);
  for (const scenario of bundledScenarios())
    for (const machine of [...PRESET_NAMES, "per page", "hap"])
      for (const part of [
        `stress ${scenario}, ${machine}, 2 vCPUs`,
        `stress ${scenario}, ${machine}, 8 vCPUs`,
        `explore ${scenario}, ${machine}, `,
      ])
        expect([part, names.filter((name) => name.startsWith(part)).length]).toEqual([part, 1]);
});

test("each format of a guest meets each scenario on two vCPUs, on eight and explored", async () => {
  const met = new Map<string, Set<string>>();
  for (const { scenario, vcpus, guest } of await soakCases()) {
    const way = `${scenario} ${String(vcpus)}`;
    met.set(way, (met.get(way) ?? new Set()).add(guest));
  }
  for (const scenario of bundledScenarios()) {
    // oxlint-disable-next-line no-await-in-loop -- modules load one after another anyway
    const { guests } = (await loadScenario(scenario)).scenario;
    for (const vcpus of ["2", "8", "null"])
      expect([scenario, met.get(`${scenario} ${vcpus}`)]).toEqual([scenario, new Set(guests)]);
  }
});

test("every run is as long as it is asked for, from the seed that is asked for", async () => {
  for (const { args } of await soakPlan("1", "7")) expect(args.join(" ")).toContain("--seconds 1 --seed 7");
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
