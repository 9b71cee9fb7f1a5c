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
  ])("has nothing to find in %s", async (scenario) => {
    const result = await explorer.run({ ...base, scenario, machine: CACHED });
    expect(result.found).toEqual({});
    expect(result).toMatchObject({ executions: 12, failed: 0 });
  });
});

interface Planted extends Pick<RunRequest, "scenario"> {
  readonly fault: string;
  readonly check: string;
  /** The one kind of failure that must be among those found, with its message. */
  readonly finds: string;
  readonly says: RegExp;
}

const PLANTED: readonly Planted[] = [
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
];

describe("the planted fault", () => {
  test.each(PLANTED)(
    "$fault is found by $check as $finds",
    async ({ scenario, fault, check, finds, says }) => {
      const request = { ...base, scenario, fault, checks: [check], executions: 400, machine: CACHED };
      const { found } = await explorer.run(request);
      expect(found[finds] ?? JSON.stringify(found)).toMatch(says);
    },
  );
});
