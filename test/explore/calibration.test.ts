/** The figures of concurrency 4.3: what each strategy needs to find the bugs of programs that everybody measures with. */
import { afterAll, describe, expect, test } from "vitest";
import { LabThread } from "./lab.ts";
import type { Experiment } from "./program-lab.ts";

const lab = new LabThread();
afterAll(() => lab.close());

/** Number of the schedule that fails first, and the bound at which it does. `dpor` counts executions not given up. */
const FIRST = [
  { program: "account", ipb: "3@0", idb: "3@1", dfs: 3, dpor: 3 },
  { program: "bluetooth", ipb: "11@1", idb: "11@1", dfs: 190, dpor: 4 },
  { program: "carter01", ipb: "15@1", idb: "14@1", dfs: 14, dpor: 2 },
  { program: "deadlock01", ipb: "11@1", idb: "9@1", dfs: 14, dpor: 2 },
  { program: "lazy01", ipb: "1@0", idb: "1@0", dfs: 1, dpor: 1 },
  { program: "tokenRing", ipb: "8@0", idb: "10@2", dfs: 8, dpor: 8 },
  { program: "twoStage", ipb: "16@1", idb: "12@1", dfs: 176, dpor: 2 },
  { program: "wrongLock3", ipb: "243@1", idb: "15@1", dfs: 3233, dpor: 7 },
  { program: "stringBuffer", ipb: "22@2", idb: "22@2", dfs: 47, dpor: 3 },
  { program: "reorder3", ipb: "43@1", idb: "25@2", dfs: 126, dpor: 9 },
  { program: "reorder4", ipb: "359@1", idb: "205@3", dfs: 6409, dpor: 97 },
  // Not within the 30,000 executions that the published figure stopped at.
  { program: "reorder5", ipb: "3378@1", idb: "1513@4", dfs: 0, dpor: 1825 },
];

describe.each(FIRST)("the first failure of $program", ({ program, ipb, idb, dfs, dpor }) => {
  const common = { program, options: { seed: 1 }, executionsMax: 30_000, untilFailure: true };

  test.each([
    ["ipb", ipb],
    ["idb", idb],
  ] as const)("is %s's schedule %s", async (strategy, expected) => {
    const { schedules, bound } = await lab.ask("observe", { ...common, strategy });
    expect(`${String(schedules)}@${String(bound)}`).toBe(expected);
  });

  test(`is schedule ${String(dfs)} of a depth-first search`, async () => {
    expect(await lab.ask("observe", { ...common, strategy: "dfs" })).toMatchObject({ first: dfs });
  });

  test(`is execution ${String(dpor)} of source-DPOR`, async () => {
    expect(await lab.ask("observe", { ...common, strategy: "dpor" })).toMatchObject({ firstWhole: dpor });
  });
});

/** Published means of the number of the first failing execution; null where nothing was found in any trial. */
const MEANS = [
  { program: "account", random: 6.9, pct: [3.5, 4.8, 7.5], pos: 5.7, urw: 3.9 },
  { program: "bluetooth", random: 10, pct: [null, 40, 44], pos: 9.5, urw: 194 },
  { program: "carter01", random: 1.9, pct: [null, 6.2, 4.8], pos: 2.2, urw: 1.9 },
  { program: "deadlock01", random: 2.5, pct: [null, 16, 8.1], pos: 3.3, urw: 2.3 },
  { program: "lazy01", random: 2, pct: [2.2, 1, 1], pos: 1.8, urw: 2 },
  { program: "tokenRing", random: 12, pct: [9.9, 12, 10], pos: 6.1, urw: 8.5 },
  { program: "twoStage", random: 53, pct: [null, 8.7, 6], pos: 9.8, urw: 281 },
  { program: "wrongLock3", random: 4, pct: [null, 19, 9.3], pos: 2.8, urw: 3.8 },
  { program: "stringBuffer", random: 9.6, pct: [null, null, 48], pos: 12, urw: 7.3 },
  { program: "reorder3", random: 35, pct: [null, 27, 35], pos: 11, urw: 8.3 },
  { program: "reorder4", random: 98, pct: [null, 55, 51], pos: 33, urw: 11 },
  { program: "reorder5", random: 307, pct: [null, 121, 98], pos: 67, urw: 26 },
];

const TRIALS = 200;
const SEED = 20_151_030;
/** Deviations of a mean that would happen once in some 5000 cells. */
const DEVIATIONS = 3.7;

function publishedTrials(program: string): number {
  return program === "reorder4" || program === "reorder5" ? 20 : 50;
}

/** Our mean, and how many standard errors the published one is above it. */
async function compare(
  experiment: Pick<Experiment, "program" | "strategy"> & { depth?: number },
  published: number,
): Promise<{ mean: number; deviations: number }> {
  const { program, strategy, depth } = experiment;
  const options = { seed: SEED, ...(depth === undefined ? {} : { depth }) };
  const first = await lab.ask("firstFailures", {
    program,
    strategy,
    options,
    executionsMax: 20_000,
    trials: TRIALS,
  });
  expect(first).toHaveLength(TRIALS);
  const mean = first.reduce((sum, each) => sum + each, 0) / TRIALS;
  const variance = first.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (TRIALS - 1);
  // Where all trials agree there is nothing to deviate.
  const error = Math.sqrt(variance * (1 / TRIALS + 1 / publishedTrials(program)));
  return { mean, deviations: published === mean ? 0 : (published - mean) / error };
}

const SIMPLE = MEANS.flatMap(({ program, random, pos }) => [
  { program, strategy: "random", published: random } as const,
  { program, strategy: "pos", published: pos } as const,
]);

test.each(SIMPLE)(
  "$strategy needs as many executions for $program as was published: $published",
  async ({ program, strategy, published }) => {
    const { deviations } = await compare({ program, strategy }, published);
    expect(Math.abs(deviations)).toBeLessThan(DEVIATIONS);
  },
);

/** The published walk went by a single profile run, which in these may be of the short path; 3.4 asks for the most of many. */
const MISLED = new Set(["bluetooth", "twoStage"]);

test.each(MEANS.filter(({ program }) => !MISLED.has(program)))(
  "urw needs as many executions for $program as was published: $urw",
  async ({ program, urw }) => {
    const { deviations } = await compare({ program, strategy: "urw" }, urw);
    expect(Math.abs(deviations)).toBeLessThan(DEVIATIONS);
  },
);

test.each(MEANS.filter(({ program }) => MISLED.has(program)))(
  "urw needs fewer executions for $program than was published: $urw",
  async ({ program, urw }) => {
    const { mean } = await compare({ program, strategy: "urw" }, urw);
    expect(mean).toBeLessThan(urw);
  },
);

const PCT = MEANS.flatMap(({ program, pct }) =>
  pct.map((published, index) => ({ program, published: published ?? 0, depth: index + 1 })),
);

test.each(PCT.filter(({ published }) => published === 0))(
  "PCT of depth $depth never finds $program, which needs more change points",
  async ({ program, depth }) => {
    const common = { program, options: { seed: SEED, depth }, executionsMax: 3000, untilFailure: true };
    expect(await lab.ask("observe", { ...common, strategy: "paper-pct" })).toMatchObject({ first: 0 });
    // The one execution that may find it is the walk that counts the points.
    const { first } = await lab.ask("observe", { ...common, strategy: "pct" });
    expect(first).toBeLessThanOrEqual(depth === 1 ? 0 : 1);
  },
);

test.each(PCT.filter(({ published }) => published > 0))(
  "PCT of depth $depth needs as many executions for $program as was published: $published",
  async ({ program, published, depth }) => {
    const { deviations } = await compare({ program, strategy: "paper-pct", depth }, published);
    expect(Math.abs(deviations)).toBeLessThan(DEVIATIONS);
  },
);

/** What fails in lazy01 is the oldest thread first, by which the published PCT counts the points; ours walks at random. */
test.each(PCT.filter(({ program, published }) => published > 0 && program !== "lazy01"))(
  "PCT of depth $depth needs no more for $program when change points are kept for choices",
  async ({ program, published, depth }) => {
    const { deviations } = await compare({ program, strategy: "pct", depth }, published);
    expect(deviations).toBeGreaterThan(-DEVIATIONS);
  },
);

/** Small enough for the whole tree of choices. */
const SMALL = MEANS.filter(({ program }) => !["wrongLock3", "reorder4", "reorder5"].includes(program));

test.each(SMALL)(
  "the random walk fails $program exactly as often as its tree of choices says",
  async ({ program }) => {
    const { failing, all } = await lab.ask("failureProbability", { program });
    expect(all).toBeCloseTo(1, 10);
    const executions = 40_000;
    const common = { program, options: { seed: SEED }, executionsMax: executions };
    const observed = await lab.ask("observe", { ...common, strategy: "random" });
    const error = Math.sqrt((failing * (1 - failing)) / executions);
    expect(Math.abs(observed.failing / executions - failing)).toBeLessThan(DEVIATIONS * error);
  },
);

test("a walk that is not uniform does not fail as often as the tree of choices says", async () => {
  const { failing } = await lab.ask("failureProbability", { program: "reorder3" });
  const executions = 40_000;
  const common = { program: "reorder3", options: { seed: SEED }, executionsMax: executions };
  const observed = await lab.ask("observe", { ...common, strategy: "pos" });
  const error = Math.sqrt((failing * (1 - failing)) / executions);
  expect(Math.abs(observed.failing / executions - failing)).toBeGreaterThan(DEVIATIONS * error);
});
