/** What changes of costs do, from points that are made up, and from a sweep. */
import { expect, test } from "vitest";
import { readCostModel } from "../../../src/engines/simulate/cost-model.ts";
import {
  changedModel,
  changedTasks,
  changesWorthTrying,
  sensitivityRows,
} from "../../../src/engines/simulate/sensitivity.ts";
import { planSimulate } from "../../../src/engines/simulate/simulate-plan.ts";
import { runSimulate } from "../../../src/engines/simulate/sweep.ts";
import { sensitivityLines } from "../../../src/report/sensitivity-text.ts";
import { PLAIN } from "../../../src/report/text.ts";
import type { SensitivityRow, SimulateResult, SimulatedPoint } from "../../../src/report/types.ts";

const MODEL = readCostModel("current-server");

interface Made {
  readonly design?: string;
  readonly vcpus?: number;
  readonly throughput?: number;
  readonly waitingShare?: number;
  readonly spent?: Readonly<Record<string, number>>;
}

function point({
  design = "ticket",
  vcpus = 1,
  throughput = 1,
  waitingShare = 0,
  spent = {},
}: Made): SimulatedPoint {
  const made = {
    design,
    vcpus,
    throughput,
    reason: null,
    shadowLockWaiting: waitingShare,
    utilisation: 0,
    spent: Object.entries(spent).map(([name, share]) => ({ name, share })),
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no more of a point is asked for
  return made as unknown as SimulatedPoint;
}

test("costs are changed that matter at some point, and are not 0", () => {
  const changes = changesWorthTrying(
    [
      point({ spent: { "own cache": 0.5, exits: 0.02, memory: 0.019 } }),
      point({ vcpus: 8, spent: { blocked: 0.9, "queue for a line": 0.1, device_writes: 0.5 } }),
    ],
    MODEL,
  );
  const costs = ["hit", "atomic", "occupancy", "pause", "wakeup", "exits"];
  expect(changes).toEqual(costs.flatMap((cost) => [0.5, 1.5].map((factor) => ({ cost, factor }))));
});

test("a change changes one cost, of an access or of a counter, and nothing else", () => {
  const { memory } = MODEL.nanos;
  expect(changedModel(MODEL, { cost: "memory", factor: 1.5 })).toEqual({
    ...MODEL,
    nanos: { ...MODEL.nanos, memory: Math.round(1.5 * memory) },
  });
  expect(changedModel(MODEL, { cost: "exits", factor: 0.5 })).toEqual({
    ...MODEL,
    counters: { ...MODEL.counters, exits: 300 },
  });
});

test("a row tells the throughput at the most vCPUs, and where the answer turns", () => {
  const before = [
    point({ vcpus: 8, throughput: 100, waitingShare: 0.6 }),
    point({ vcpus: 4, throughput: 90, waitingShare: 0.45 }),
    point({ vcpus: 1, throughput: 50, waitingShare: 0.1 }),
    point({ design: "mcs", throughput: 10 }),
  ];
  const after = [
    point({ vcpus: 1, throughput: 40, waitingShare: 0.1 }),
    point({ vcpus: 4, throughput: 80, waitingShare: 0.55 }),
    point({ vcpus: 8, throughput: 75, waitingShare: 0.4 }),
  ];
  expect(sensitivityRows({ cost: "hit", factor: 1.5 }, before, after)).toEqual([
    { cost: "hit", factor: 1.5, design: "ticket", vcpus: 8, throughput: 0.75, answerChangesAt: [4, 8] },
  ]);
});

/** The last line of the report on changes by which one kind of lock gains and another loses. */
function orderLine(
  ...factors: readonly (readonly [design: string, throughput: number])[]
): string | undefined {
  const sensitivity = factors.map(([design, throughput]): SensitivityRow => ({
    cost: "memory",
    factor: 0.5,
    design,
    vcpus: 8,
    throughput,
    answerChangesAt: [],
  }));
  const points = [
    point({ design: "mcs", vcpus: 8, throughput: 120 }),
    point({ design: "ticket", vcpus: 8, throughput: 100 }),
  ];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- no more of a result is asked for
  return sensitivityLines({ sensitivity, points } as unknown as SimulateResult, PLAIN).at(-1);
}

test("an order of locks that a change turns round is told", () => {
  expect(orderLine(["mcs", 1], ["ticket", 1.19])).toBe("the order mcs, ticket is kept whatever is changed");
  expect(orderLine(["mcs", 1], ["ticket", 1.21])).toBe(
    "the order mcs, ticket is turned round by memory by 0.5",
  );
  expect(orderLine(["ticket", 2])).toBe("one design: there is no order that could change");
  expect(orderLine()).toBeUndefined();
});

test("a sweep that is asked for it changes what its points spend time on", async () => {
  const plan = await planSimulate({
    scenario: "disjoint-spaces",
    vcpus: "2",
    milliseconds: "0.1",
    seed: "1",
    sensitivity: true,
  });
  expect(plan.command).toContain(" --sensitivity");
  const { points, sensitivity, outcome } = await runSimulate(plan);
  const changes = changesWorthTrying(points, plan.model);
  expect(outcome).toBe("completed");
  expect(changedTasks(plan.tasks, changes)).toHaveLength(changes.length);
  expect(sensitivity.map(({ cost, factor }) => ({ cost, factor }))).toEqual(changes);
  const exits = sensitivity.filter(({ cost }) => cost === "exits").map(({ throughput }) => throughput);
  expect(exits[0]).toBeGreaterThan(1);
  expect(exits[1]).toBeLessThan(1);
});
