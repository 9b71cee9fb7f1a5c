/**
 * Every scenario that comes with Umbra: what it declares is sane, it boots everywhere it says, and it runs clean on one vCPU.
 * On the threads of several it runs in test/soak/.
 */
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { Loader } from "../../src/guest/loader.ts";
import { VCPUS_MAX, machineWish, scenarioFaults } from "../../src/guest/scenario.ts";
import type { GuestFormat, Scenario, ScenarioOptions } from "../../src/guest/scenario.ts";
import { runStress } from "../../src/engines/stress/engine.ts";
import { planStress } from "../../src/engines/stress/plan.ts";
import { FlatRam } from "../guest/flat-ram.ts";
import { runOnOneThread } from "../guest/one-thread.ts";
import { filesIn, ROOT } from "../source.ts";

/** The scenarios that the project promises. */
const PROMISED = [
  "build",
  "data-beside-pdpts",
  "demand-paging",
  "destroy-under-load",
  "disjoint-spaces",
  "exec-exit",
  "fork-copy-on-write",
  "linear-map-writes",
  "live-migration",
  "frame-buffer",
  "locked-instructions",
  "machine-code-pagetables",
  "map-unmap-shootdown",
  "mmio-polling",
  "mode-switches",
  "not-present-churn",
  "office",
  "p2m-types",
  "p2m-under-load",
  "root-switching",
  "shared-address-space",
  "tiny-pool",
];

const files = filesIn("scenarios").filter((file) => !file.slice("scenarios/".length).includes("/"));
const scenarios = await Promise.all(
  files.map(async (file) => {
    const module: { readonly default: Scenario } = await import(join(ROOT, file));
    return { name: basename(file, ".ts"), scenario: module.default };
  }),
);
const everyGuest = scenarios.flatMap(({ name, scenario }) =>
  scenario.guests.map((format) => ({ name, format, scenario })),
);

/** The options with each personality in turn, where there is a choice. */
function variants({ options, choices }: Scenario): ScenarioOptions[] {
  const maps = choices?.["map"] ?? [];
  return maps.length === 0 ? [options] : maps.map((map) => Object.assign({}, options, { map }));
}

function boot(scenario: Scenario, vcpus: number, format: GuestFormat, options: ScenarioOptions): unknown {
  const ram = new FlatRam(machineWish(scenario, vcpus, options).ramPages);
  return scenario.boot(new Loader({ ram, format, vcpus }), options);
}

it("there is one for each story that is promised", () => {
  expect(scenarios.map(({ name }) => name)).toEqual(expect.arrayContaining(PROMISED));
});

describe.each(scenarios)("$name", ({ name, scenario }) => {
  it("is named like its file and declares what makes sense", () => {
    expect(scenarioFaults(scenario)).toEqual([]);
    expect(scenario.name).toBe(name);
    expect(scenario.about).toMatch(/^[a-z].*[^.]$/);
    expect(scenario.slide).toMatch(/spec \d/);
    expect(scenario.vcpus.min).toBe(1);
    expect([16, VCPUS_MAX]).toContain(scenario.vcpus.max);
    for (const program of scenario.programs) expect(program.name).toMatch(/^[a-z][A-Za-z]+$/);
    for (const [option, allowed] of Object.entries(scenario.choices ?? {})) {
      expect(allowed).toContain(scenario.options[option]);
    }
  });

  it("has a small variant that is smaller, and boots", () => {
    const { small } = scenario;
    expect(small).toBeDefined();
    const vcpus = small?.vcpus ?? 1;
    expect(vcpus).toBeLessThanOrEqual(2);
    expect(Object.keys(scenario.options)).toEqual(expect.arrayContaining(Object.keys(small?.options ?? {})));
    const options = { ...scenario.options, ...small?.options } as ScenarioOptions;
    const { ramPages } = machineWish(scenario, vcpus, options);
    for (const format of scenario.guests) {
      const ram = new FlatRam(small?.machine?.ramPages ?? ramPages);
      expect(() => scenario.boot(new Loader({ ram, format, vcpus }), options)).not.toThrow();
    }
  });

  it("boots for every format, any number of vCPUs and every option, into plain data", () => {
    for (const options of variants(scenario)) {
      for (const format of scenario.guests) {
        for (const vcpus of [scenario.vcpus.min, scenario.vcpus.default, scenario.vcpus.max]) {
          const shared = boot(scenario, vcpus, format, options);
          expect(structuredClone(shared)).toEqual(shared);
        }
      }
    }
  });
});

it.each(everyGuest)(
  "$name runs clean on one vCPU of a $format guest, with every personality",
  ({ format, scenario }) => {
    for (const options of variants(scenario)) {
      const run = runOnOneThread({ scenario, format, operations: 6000, options, seed: 3 });
      expect(run.findings).toEqual([]);
      expect({ end: run.end, broken: run.broken }).toEqual({ end: "finished", broken: [] });
      expect(run.operations).toBeGreaterThanOrEqual(6000);
    }
  },
);

it("a kernel that tells nobody of its changes is caught", async () => {
  const file = join(import.meta.dirname, "forgetful-kernel.ts");
  const checks = new Set<string>();
  // On a busy machine the threads of a run may hardly have met.
  for (let seed = 1; seed <= 10 && !checks.has("memory"); seed++) {
    const request = { scenario: file, vcpus: "3", guest: "4level", seconds: "2", seed: String(seed) };
    // oxlint-disable-next-line no-await-in-loop -- one run after another, until one shows it
    const { violations } = await runStress(await planStress(request));
    for (const { check } of violations) checks.add(check);
  }
  expect(checks).toContain("memory");
});

it.each(scenarios)("the small variant of $name leaves a choice of who goes on", ({ scenario }) => {
  const threads = (scenario.small?.vcpus ?? 2) + (scenario.toolstack === undefined ? 0 : 1);
  expect(threads).toBeGreaterThan(1);
});
