/**
 * A short soak, for every change: each scenario explored under each preset and in hap, two schedules of two vCPUs with all checks,
 * and on two threads under one machine each, by turns. `npm run soak` gives each of all these 20 seconds, and eight threads.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runStress } from "../../src/engines/stress/engine.ts";
import { planStress } from "../../src/engines/stress/plan.ts";
import { bundledScenarios, loadScenario } from "../../src/engines/scenario-files.ts";
import { Explorer } from "../explore/explorer.ts";
import { MACHINES } from "./soak-plan.ts";

const CHECKS = ["audit", "memory", "race", "locks", "progress"];
const EXECUTIONS = 2;
/** Of a run on threads, which take longer than that to start. */
const SECONDS = "0.2";
/** Their vCPUs load the decoder when they execute their first instruction. */
const LATE_STARTERS = new Set(["locked-instructions", "machine-code-pagetables"]);

const scenarios = await Promise.all(
  bundledScenarios().map(async (name, place) => {
    const { guests, vcpus } = (await loadScenario(name)).scenario;
    return { name, place, guests, vcpus: String(Math.max(2, vcpus.min)) };
  }),
);

let explorer: Explorer | undefined;
beforeAll(() => {
  explorer = new Explorer();
});
afterAll(() => explorer?.close());

describe.each(MACHINES.map((machine, index) => ({ machine, index })))(
  "$machine.name",
  ({ machine, index }) => {
    // From machine to machine the formats of a guest take turns.
    const runs = scenarios.map(({ name, place, guests, vcpus }) => {
      const guest = guests[(place + index) % guests.length] ?? "4level";
      return { name, place, vcpus, guest };
    });

    test.each(runs)("$name is explored, $guest", async ({ name, guest }) => {
      const result = await explorer?.run({
        scenario: name,
        format: guest,
        machine: machine.config,
        checks: CHECKS,
        executions: EXECUTIONS,
        seed: 1,
        untilFailure: true,
      });
      expect(result).toMatchObject({ executions: EXECUTIONS, failed: 0, found: {} });
    });

    const onThreads = runs.filter(({ place }) => place % MACHINES.length === index);
    test.each(onThreads)("$name on threads, $guest", async ({ name, guest, vcpus }) => {
      const seconds = LATE_STARTERS.has(name) ? "1" : SECONDS;
      const request = { scenario: name, guest, vcpus, seconds, seed: "1", ...machine.request };
      const result = await runStress(await planStress(request));
      expect(result.violations).toEqual([]);
      expect(result).toMatchObject({ outcome: "completed", stuck: [] });
      expect(result.operations).toBeGreaterThan(0);
    });
  },
);
