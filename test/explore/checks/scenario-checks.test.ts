/** The checks that watch scenarios: silent on the model as it is, and each of them finds the fault planted for it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CHECK_NAMES } from "../../../src/engines/explore/checks/scenario-checks.ts";
import { Explorer } from "../explorer.ts";
import type { RunRequest } from "../explorer.ts";

let explorer: Explorer;
beforeAll(() => {
  explorer = new Explorer();
});
afterAll(async () => {
  await explorer.close();
});

const CACHED = { structureCacheEntries: 4 };
const base = {
  checks: CHECK_NAMES,
  executions: 12,
  seed: Number(process.env["UMBRA_SEED"]),
  untilFailure: true,
};

describe("the model as it is", () => {
  test.each([
    "map-unmap-shootdown",
    "shared-address-space",
    "tiny-pool",
    "linear-map-writes",
    "exec-exit",
    "p2m-under-load",
    "mode-switches",
    "locked-instructions",
    "machine-code-pagetables",
  ])("has nothing to find in %s", async (scenario) => {
    const result = await explorer.run({ ...base, scenario, machine: CACHED });
    expect(result.found).toEqual({});
    expect(result).toMatchObject({ executions: 12, failed: 0 });
  });

  test.each(["map-unmap-shootdown", "linear-map-writes", "p2m-under-load", "mode-switches"])(
    "has nothing to find in %s in hap mode",
    async (scenario) => {
      const result = await explorer.run({ ...base, scenario, machine: { ...CACHED, paging: "hap" } });
      expect(result.found).toEqual({});
      expect(result).toMatchObject({ executions: 12, failed: 0 });
    },
  );
});

test("vCPUs compete for the last pages of the pool in every execution of tiny-pool", async () => {
  const result = await explorer.run({ ...base, scenario: "tiny-pool" });
  expect(result).toMatchObject({ executions: 12, failed: 0, shortages: 12 });
});

/** What the programs do, and so whether they meet a fault at all, depends on the seed: with this one they meet each. */
const PLANTED_SEED = 3;

interface Planted extends Pick<RunRequest, "scenario"> {
  readonly fault: string;
  readonly check: string;
  /** The one kind of failure that must be among those found, with its message. */
  readonly finds: string;
  readonly says: RegExp;
  /** The assistance mode; shadow unless said. */
  readonly paging?: "hap";
}

const PLANTED: readonly Planted[] = [
  {
    fault: "cachesNextFrame",
    scenario: "map-unmap-shootdown",
    paging: "hap",
    check: "memory",
    finds: "translation",
    says: /the tables now say frame/,
  },
  {
    fault: "flushesOnlyItself",
    scenario: "map-unmap-shootdown",
    check: "audit",
    finds: "audit tlbs-respect-pagetables",
    says: /vCPU \d can write to pagetable 0x[0-9a-f]+ through its TLB/,
  },
  {
    fault: "flushesOnlyItself",
    scenario: "map-unmap-shootdown",
    check: "memory",
    finds: "translation",
    says: /writes to pagetable 0x[0-9a-f]+ without an exit|goes to frame/,
  },
  {
    fault: "keepsReferences",
    scenario: "map-unmap-shootdown",
    check: "audit",
    finds: "audit page-counts-are-exact",
    says: /has \d+ references, \d+ are found/,
  },
  {
    fault: "ignoresInvlpg",
    scenario: "map-unmap-shootdown",
    check: "memory",
    finds: "translation",
    says: /which no pagetable since its last flush allows/,
  },
  {
    fault: "clearsAccessed",
    scenario: "linear-map-writes",
    check: "memory",
    finds: "guest-entries",
    says: /clears A or D of the guest's entry/,
  },
  {
    fault: "readsFreedShadows",
    scenario: "exec-exit",
    check: "memory",
    finds: "lifetime",
    says: /after it was freed/,
  },
  {
    fault: "revokesNothing",
    scenario: "linear-map-writes",
    check: "audit",
    finds: "audit pagetables-are-read-only",
    says: /lets pagetable/,
  },
  {
    fault: "mapsNextFrame",
    scenario: "map-unmap-shootdown",
    check: "audit",
    finds: "audit leaves-follow-p2m",
    says: /the p2m has/,
  },
  {
    fault: "mapsNextFrame",
    scenario: "map-unmap-shootdown",
    check: "memory",
    finds: "translation",
    says: /the tables now say frame/,
  },
  {
    fault: "writesHalves",
    scenario: "map-unmap-shootdown",
    check: "race",
    finds: "torn",
    says: /Half an entry of a live shadow: vCPU \d in Halving.setLeaf \(faults.ts:\d+\) during a page fault, holding the paging lock/,
  },
  {
    fault: "looksBeforeLocking",
    scenario: "map-unmap-shootdown",
    check: "race",
    finds: "unguarded",
    says: /during a page fault, holding no lock, makes a plain read of mfn 0x1 shadowFlags \(0x0\), but its guard is the paging lock/,
  },
  {
    fault: "locksInsideHeap",
    scenario: "p2m-under-load",
    check: "locks",
    finds: "lock-graph",
    says: /A deadlock is possible: .*wants the \w+ lock .* while it holds the \w+ lock .*; .*wants the \w+ lock/,
  },
  {
    fault: "emulatesPastShadows",
    scenario: "machine-code-pagetables",
    check: "audit",
    finds: "audit",
    says: /the guest's/,
  },
  {
    fault: "fixesNothing",
    scenario: "map-unmap-shootdown",
    check: "progress",
    finds: "livelock",
    says: /No guest operation was completed in \d+ steps: vCPU 0 at 0x/,
  },
];

describe("the planted fault", () => {
  test.each(PLANTED)(
    "$fault is found by $check as $finds",
    async ({ scenario, fault, check, finds, says, paging }) => {
      // Ends at the failure that is looked for, whatever checks inside the model say before.
      const request = {
        ...base,
        scenario,
        fault,
        checks: [check],
        seed: PLANTED_SEED,
        executions: 400,
        machine: paging === undefined ? CACHED : { ...CACHED, paging },
        finds,
      };
      const { found } = await explorer.run(request);
      expect(found[finds] ?? JSON.stringify(found)).toMatch(says);
    },
  );
});

test("locked instructions that are not atomic lose additions", async () => {
  const request = { ...base, scenario: "locked-instructions", checks: [], seed: PLANTED_SEED, rounds: 16 };
  const { found } = await explorer.run({ ...request, fault: "altersInTwoSteps", executions: 60 });
  expect(Object.values(found).join(" ")).toMatch(/the counter in plain memory is \d+ after additions of \d+/);
});

describe("a benign race that is not declared is reported", () => {
  test.each([
    {
      region: "records",
      cell: "type",
      scenario: "map-unmap-shootdown",
      says: /FrameTable.type .* plain read/,
    },
    { region: "locks", cell: "owner", scenario: "map-unmap-shootdown", says: /lock owner/ },
    {
      region: "locks",
      cell: "held",
      scenario: "exec-exit",
      says: /Nothing orders two accesses: vCPU/,
    },
    { region: "vcpus", cell: "lastEmulatedFrame", scenario: "not-present-churn", says: /lastEmulatedFrame/ },
    { region: "domain", cell: "tornDown", scenario: "p2m-under-load", says: /domain tornDown/ },
  ] as const)("$region $cell", async ({ region, cell, scenario, says }) => {
    const undeclared = { region, cell };
    const request = {
      ...base,
      scenario,
      undeclared,
      seed: PLANTED_SEED,
      executions: 60,
      machine: CACHED,
      rounds: 6,
    };
    const { found } = await explorer.run(request);
    expect(Object.values(found).join(" ")).toMatch(says);
  });
});
