/** Virtual time against closed forms (concurrency 3.14): a lock with N customers who think is the queue M/M/1//N. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { kneeOf } from "../../../src/engines/simulate/scaling.ts";
import type { RepairmanAnswer, RepairmanOrder } from "./repairman-worker.ts";

const THINK = 10_000;
const SERVICE = 1000;
/** So many that chance is a third of what is allowed: 1 / sqrt(20,000) is 0.7 %. */
const VISITS = 20_000;

async function simulate(order: Partial<RepairmanOrder>): Promise<RepairmanAnswer> {
  const workerData: RepairmanOrder = {
    customers: 8,
    kind: "ticket",
    thinkNanos: THINK,
    serviceNanos: SERVICE,
    nanos: 10_000_000,
    seed: 7,
    fault: "none",
    ...order,
  };
  const worker = new Worker(new URL("repairman-worker.ts", import.meta.url), { workerData });
  try {
    const [answer] = (await once(worker, "message")) as [RepairmanAnswer];
    return answer;
  } finally {
    await worker.terminate();
  }
}

/** Visits a nanosecond: (1 - p0) / S. */
function closedForm(customers: number): number {
  let term = 1;
  let sum = 1;
  for (let queued = 1; queued <= customers; queued++) {
    term *= (customers - queued + 1) * (SERVICE / THINK);
    sum += term;
  }
  return (1 - 1 / sum) / SERVICE;
}

describe.each([
  ["ticket", [1, 11]],
  ["test-and-set", [4, 24]],
  ["mcs", [9]],
  ["futex", [9]],
] as const)("with a %s lock", (kind, numbers) => {
  test.each(numbers)(
    "%i customers are served as often as the formula says, within two percent",
    async (customers) => {
      const expected = closedForm(customers);
      const { throughput, utilisation, waitingShare, response, laws } = await simulate({
        kind,
        customers,
        nanos: VISITS / expected,
      });
      expect(Math.abs(throughput / expected - 1)).toBeLessThan(0.02);
      expect(Math.abs(utilisation / (expected * SERVICE) - 1)).toBeLessThan(0.02);
      // Little's law for all customers: N = X (R + Z).
      expect(Math.abs((throughput * (response + THINK)) / customers - 1)).toBeLessThan(0.02);
      // N* = (Z + S) / S, whichever number of customers it is worked out from.
      const knee = kneeOf({ vcpus: customers, waitingShare, utilisation }) ?? 0;
      expect(Math.abs(knee / ((THINK + SERVICE) / SERVICE) - 1)).toBeLessThan(0.02);
      expect(laws.filter(({ holds }) => !holds)).toEqual([]);
      expect(laws.map(({ law }) => law)).toEqual(["time", "order", "little", "utilisation"]);
    },
  );
});

test("a hand-off that loses time breaks the laws", async () => {
  const { laws } = await simulate({ fault: "hand-off loses time" });
  const broken = laws.filter(({ holds }) => !holds).map(({ law }) => law);
  expect(broken).toContain("order");
  expect(broken).toContain("little");
});

test("a hand-off whose time nobody accounts for breaks the law of time", async () => {
  const { laws } = await simulate({ fault: "hand-off is not counted" });
  expect(laws.filter(({ holds }) => !holds).map(({ law }) => law)).toEqual(["time"]);
});
