/**
 * A short soak of the explorer, for every change: each scenario on each machine of the soak, ten schedules of two vCPUs with
 * all checks, which take a good half of a second. `npm run soak` gives each of these 20 seconds.
 */
import { afterAll, expect, test } from "vitest";
import { Explorer } from "../explore/explorer.ts";
import { Shared } from "./shared.ts";
import { soakCases } from "./soak-plan.ts";

const CHECKS = ["audit", "memory", "race", "locks", "progress"];
const EXECUTIONS = 10;

const explorers = [new Explorer(), new Explorer()];
afterAll(() => Promise.all(explorers.map((each) => each.close())));
const shared = new Shared(explorers);

const cases = (await soakCases()).filter(({ vcpus }) => vcpus === null);
/** Names are cut short where a field of an object is the name. */
const named = cases.map((each) => [each.name, each] as const);

test.concurrent.each(named)("%s", async (_, { scenario, machine, guest }) => {
  const request = {
    scenario,
    format: guest,
    machine: machine.config,
    checks: CHECKS,
    executions: EXECUTIONS,
    seed: 1,
    untilFailure: true,
  };
  const result = await shared.ask((explorer) => explorer.run(request));
  expect(result).toMatchObject({ executions: EXECUTIONS, failed: 0, found: {} });
});
