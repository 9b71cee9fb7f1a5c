/** Locks between real threads. Every check here has a run with a planted fault that it must find. */
import { describe, expect, test } from "vitest";
import { contend } from "./contention.ts";

const KINDS = ["test-and-set", "ticket", "mcs", "futex"] as const;
/** More rounds than a torn lock survives: such a run ends at the first fault. */
const MANY = 1000;

describe.each(KINDS)("a %s lock", (kind) => {
  test.each([
    { vcpus: 2, rounds: 20_000 },
    { vcpus: 8, rounds: 1000 },
  ])("lets one of $vcpus vCPUs in at a time", async ({ vcpus, rounds }) => {
    const { outcomes, statistics, counter } = await contend({ job: "count", kind, vcpus, rounds });
    const fine = { overlaps: 0, checks: [], isAcknowledged: false };
    expect(outcomes).toEqual(Array.from({ length: vcpus }, () => fine));
    expect(counter).toBe(vcpus * rounds);
    expect(statistics.acquisitions).toBe(vcpus * rounds);
    expect(statistics.holdSamples).toBe(vcpus * Math.floor(rounds / 64));
    expect(statistics.ownerChanges).toBeGreaterThanOrEqual(vcpus - 1);
    expect(statistics.contentions).toBeLessThan(vcpus * rounds);
    expect(statistics.waitBuckets.reduce((a, b) => a + b)).toBe(statistics.contentions);
  });

  test.each([2, 8])("that loads and then stores is found out by %i vCPUs", async (vcpus) => {
    const { outcomes } = await contend({ job: "count", kind, vcpus, rounds: MANY, fault: "torn" });
    const faults = outcomes.reduce((sum, { overlaps, checks }) => sum + overlaps + checks.length, 0);
    expect(faults).toBeGreaterThan(0);
  });

  test("has its waiters serve flushes while the holder waits for them", async () => {
    const { outcomes, statistics } = await contend({ job: "flush", kind, vcpus: 2 });
    expect(outcomes.map(({ isAcknowledged }) => isAcknowledged)).toEqual([true, false]);
    expect(statistics).toMatchObject({ acquisitions: 2, contentions: 1, ownerChanges: 1 });
  });

  test("leaves a flush unanswered when its waiter is deaf", async () => {
    const { outcomes } = await contend({ job: "flush", kind, vcpus: 2, fault: "deaf" });
    expect(outcomes.map(({ isAcknowledged }) => isAcknowledged)).toEqual([false, false]);
  });
});

test.each(["ticket", "mcs"] as const)("a %s lock is had in the order of arrival", async (kind) => {
  const { arrivals, statistics } = await contend({ job: "queue", kind, vcpus: 6 });
  expect(arrivals).toEqual([0, 1, 2, 3, 4, 5]);
  expect(statistics).toMatchObject({ acquisitions: 6, contentions: 5, ownerChanges: 5 });
});
