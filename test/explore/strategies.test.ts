/** What strategies promise besides finding bugs: fairness, repeatability, honest claims (concurrency 3.2 to 3.5 and 6). */
import { afterAll, describe, expect, test } from "vitest";
import {
  STRATEGY_NAMES,
  SYSTEMATIC,
  isStrategyName,
} from "../../src/engines/explore/strategies/catalogue.ts";
import { LabThread } from "./lab.ts";
import type { Instruction } from "./programs/generated.ts";

const lab = new LabThread();
afterAll(() => lab.close());

const SEED = 7;
const SAMPLING = STRATEGY_NAMES.filter((name) => !SYSTEMATIC.has(name));

test("strategies are known by name, the default first", () => {
  expect(STRATEGY_NAMES).toEqual(["portfolio", "random", "pct", "pos", "urw", "ipb", "idb", "dfs", "dpor"]);
  expect(isStrategyName("pos")).toBe(true);
  expect(isStrategyName("toString")).toBe(false);
});

describe("a thread that waits by trying again", () => {
  test.each(SAMPLING)("lets others run under %s when it pauses", async (strategy) => {
    const common = { options: { seed: SEED, onlySampling: true }, executionsMax: 300, pointsMax: 2000 };
    const observed = await lab.ask("observe", { ...common, program: "spinWithPauses", strategy });
    expect(observed).toMatchObject({ executions: 300, capped: 0, failing: 0 });
  });

  test.each([1, 2, 3])("lets others run in the end under PCT of depth %i when it does not", async (depth) => {
    const common = { options: { seed: SEED, depth }, executionsMax: 300, pointsMax: 10_000 };
    const observed = await lab.ask("observe", { ...common, program: "spinWithoutPauses", strategy: "pct" });
    expect(observed).toMatchObject({ executions: 300, capped: 0, failing: 0 });
    const paper = await lab.ask("observe", {
      ...common,
      program: "spinWithoutPauses",
      strategy: "paper-pct",
    });
    expect(paper.capped).toBeGreaterThan(0);
  });

  test.each(["ipb", "idb", "dfs", "dpor"] as const)(
    "does not keep %s from ending when it pauses",
    async (strategy) => {
      const common = { options: { seed: SEED }, executionsMax: 1000, pointsMax: 2000 };
      const observed = await lab.ask("observe", { ...common, program: "spinWithPauses", strategy });
      expect(observed).toMatchObject({ isExhausted: true, capped: 0, failing: 0 });
      expect(observed.completed).toMatch(/^no failure in any schedule/);
    },
  );

  test.each(STRATEGY_NAMES)(
    "for ever is cut by the cap under %s, which is no failure and no proof",
    async (strategy) => {
      const common = { options: { seed: SEED }, executionsMax: 200, pointsMax: 200 };
      const observed = await lab.ask("observe", { ...common, program: "spinForever", strategy });
      expect(observed).toMatchObject({ failing: 0, deadlocks: 0, capped: observed.executions });
      expect(observed.completed ?? "inconclusive").toMatch(/^inconclusive/);
    },
  );

  test.each(STRATEGY_NAMES)(
    "in one operation, for what never comes, is a deadlock under %s",
    async (strategy) => {
      const common = { options: { seed: SEED }, executionsMax: 50, pointsMax: 200 };
      const observed = await lab.ask("observe", { ...common, program: "waitForever", strategy });
      expect(observed).toMatchObject({ capped: 0, deadlocks: observed.executions });
    },
  );
});

describe("an execution is known by its number", () => {
  test.each(SAMPLING)("under %s, whatever was executed before", async (strategy) => {
    const common = {
      program: "wrongLock3",
      strategy,
      withForms: true,
      options: { seed: SEED, onlySampling: true },
    };
    const { learnt } = await lab.ask("observe", { ...common, executionsMax: 200 });
    const alone = { ...common, adopted: learnt, executionsMax: 1 };
    const once = await lab.ask("observe", { ...alone, from: 1_000_000 });
    const again = await lab.ask("observe", { ...alone, from: 1_000_000 });
    expect(again.schedulesSeen).toEqual(once.schedulesSeen);
    const two = await lab.ask("observe", { ...alone, executionsMax: 2, from: 16 });
    const second = await lab.ask("observe", { ...alone, from: 17 });
    expect(Object.keys(two.schedulesSeen).slice(-1)).toEqual(Object.keys(second.schedulesSeen));
    const otherSeed = { ...common, options: { ...common.options, seed: SEED + 1 }, adopted: learnt };
    const [ours, others] = [
      await lab.ask("observe", { ...common, adopted: learnt, executionsMax: 20 }),
      await lab.ask("observe", { ...otherSeed, executionsMax: 20 }),
    ];
    expect(others.schedulesSeen).not.toEqual(ours.schedulesSeen);
  });
});

describe("PCT", () => {
  test("learns the most points with a choice, from executions that came to their end", async () => {
    const common = { strategy: "pct", options: { seed: SEED, depth: 2 }, executionsMax: 500 } as const;
    const { learnt } = await lab.ask("observe", { ...common, program: "increments2" });
    // Of the 8 operations, the first beginning and the joins at the end have no alternative.
    expect(learnt["points"]).toBe(5);
    const livelock = await lab.ask("observe", { ...common, program: "spinForever", pointsMax: 300 });
    expect(livelock.learnt).toEqual({ points: 0 });
  });

  test.each([
    { program: "bluetooth", threads: 2, depth: 2 },
    { program: "twoStage", threads: 3, depth: 2 },
    { program: "reorder3", threads: 4, depth: 2 },
    { program: "stringBuffer", threads: 2, depth: 3 },
  ])("hits $program, of depth $depth, as often as it guarantees", async ({ program, threads, depth }) => {
    const executions = 5000;
    const common = {
      program,
      strategy: "pct",
      options: { seed: SEED, depth },
      executionsMax: executions,
    } as const;
    const { failing, learnt } = await lab.ask("observe", common);
    const guaranteed = 1 / (threads * (learnt["points"] ?? 0) ** (depth - 1));
    expect(failing / executions).toBeGreaterThanOrEqual(guaranteed);
  });
});

const STRAIGHT: readonly Instruction[] = [
  ["load", 0],
  ["store", 0],
  ["load", 1],
];

/** How far the numbers of times are from being equal, in deviations of what chance would do. */
function unevenness(times: readonly number[]): number {
  const expected = times.reduce((sum, each) => sum + each, 0) / times.length;
  const statistic = times.reduce((sum, each) => sum + (each - expected) ** 2 / expected, 0);
  const freedom = times.length - 1;
  return (statistic - freedom) / Math.sqrt(2 * freedom);
}

test("the uniform walk executes every interleaving equally often, the random walk does not", async () => {
  const instructions = { threads: [STRAIGHT, STRAIGHT, STRAIGHT.slice(0, 1)], joins: false };
  const common = { program: "generated", instructions, options: { seed: SEED }, withForms: true };
  const all = await lab.ask("observe", { ...common, strategy: "dfs", executionsMax: 1e5 });
  const executions = all.executions * 30;
  const { learnt } = await lab.ask("observe", { ...common, strategy: "urw", executionsMax: 100 });
  const walk = { ...common, adopted: learnt, executionsMax: executions };
  const uniform = await lab.ask("observe", { ...walk, strategy: "urw" });
  expect(Object.keys(uniform.schedulesSeen)).toHaveLength(all.executions);
  expect(unevenness(Object.values(uniform.schedulesSeen))).toBeLessThan(4);
  const random = await lab.ask("observe", { ...walk, strategy: "random" });
  expect(unevenness(Object.values(random.schedulesSeen))).toBeGreaterThan(100);
});

describe("a search says what it has been through", () => {
  const common = { program: "deadlock01", options: { seed: SEED }, executionsMax: 1e5 };

  test("bounded by preemptions", async () => {
    const none = await lab.ask("observe", {
      ...common,
      strategy: "ipb",
      options: { seed: SEED, boundMax: 0 },
    });
    expect(none.completed).toMatch(/^no failure without a preemption \(\d+ executions\)$/);
    const two = await lab.ask("observe", {
      ...common,
      strategy: "ipb",
      options: { seed: SEED, boundMax: 2 },
    });
    expect(two.completed).toBe(`no failure with <= 2 preemptions (${String(two.schedules)} executions)`);
    const all = await lab.ask("observe", { ...common, strategy: "ipb" });
    expect(all.completed).toBe("no failure in any schedule (90 executions)");
    expect(two.schedules).toBeLessThan(90);
  });

  test("bounded by delays: one schedule without any, and all in the end", async () => {
    const none = await lab.ask("observe", {
      ...common,
      strategy: "idb",
      options: { seed: SEED, boundMax: 0 },
    });
    expect(none).toMatchObject({ executions: 1, completed: "no failure without a delay (1 execution)" });
    const all = await lab.ask("observe", { ...common, strategy: "idb" });
    expect(all.completed).toBe("no failure in any schedule (90 executions)");
  });

  test.each(["dfs", "dpor"] as const)("%s, half way: about what remains", async (strategy) => {
    const program = strategy === "dfs" ? "carter01" : "reorder4";
    const { executions: total } = await lab.ask("observe", { ...common, program, strategy });
    const executionsMax = Math.floor(total / 2);
    const half = await lab.ask("observe", { ...common, program, strategy, executionsMax });
    expect(half.isExhausted).toBe(false);
    expect(half.completed).toBe(null);
    expect(half.remaining).toBeGreaterThan(total / 10);
    expect(half.remaining).toBeLessThan(total * 5);
  });
});

describe("the portfolio", () => {
  test.each([
    { program: "reorder3", executions: 56 },
    { program: "deadlock01", executions: 3 },
  ])("executes all of $program, which is small", async ({ program, executions }) => {
    const common = { program, strategy: "portfolio", options: { seed: SEED }, executionsMax: 1e5 } as const;
    const observed = await lab.ask("observe", common);
    expect(observed.isExhausted).toBe(true);
    expect(observed.completed).toBe(`no failure in any schedule (${String(executions)} executions for all)`);
  });

  test("goes on by turns with what is too large to be executed whole", async () => {
    const common = { strategy: "portfolio", options: { seed: SEED }, executionsMax: 30_000 } as const;
    const large = await lab.ask("observe", { ...common, program: "reorder5" });
    expect(large.isExhausted).toBe(false);
    expect(large.completed).toMatch(/^no failure without a preemption/);
  });

  test("only samples when others search", async () => {
    const options = { seed: SEED, onlySampling: true };
    const common = { strategy: "portfolio", options, executionsMax: 2000, program: "deadlock01" } as const;
    expect(await lab.ask("observe", common)).toMatchObject({ executions: 2000, completed: null });
  });

  test("knows what its parts have learnt", async () => {
    const options = { seed: SEED, onlySampling: true };
    const common = { strategy: "portfolio", options, program: "increments2" } as const;
    const { learnt } = await lab.ask("observe", { ...common, executionsMax: 500 });
    expect(learnt).toEqual({ "pct points": 5, "urw 0": 4, "urw 0.0": 2, "urw 0.1": 2 });
    const adopted = await lab.ask("observe", { ...common, adopted: learnt, executionsMax: 0 });
    expect(adopted.learnt).toEqual(learnt);
  });
});
