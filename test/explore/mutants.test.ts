/** Known bugs are found by the checks that were made for them, and nothing is without them. */
import { expect, test } from "vitest";
import { planExplore } from "../../src/engines/explore/explore-plan.ts";
import { mutantNames } from "../../src/engines/explore/mutants/mutant-files.ts";
import { planMutants, runMutants } from "../../src/engines/explore/mutants/mutants.ts";
import { oracleOf, watchersOf } from "../../src/engines/explore/oracles.ts";
import { UsageError } from "../../src/engines/errors.ts";
import { mutantsExitCode } from "../../src/cli/mutants.ts";
import { mutantsReport } from "../../src/report/mutants-report.ts";
import { PLAIN } from "../../src/report/text.ts";

const ALL = [
  "M01",
  "M02",
  "M03",
  "M04",
  "M05",
  "M06",
  "M07",
  "M08",
  "M09",
  "M10",
  "M11",
  "M12",
  "M13",
  "M14",
  "M15",
  "M16",
  "M17",
  "M18",
  "M19",
  "M20",
  "M21",
  "M22",
  "M23",
  "M24",
  "M25",
  "M26",
  "M27",
  "M28",
  "M29",
  "M30",
];
/** Those that a few thousand executions are enough for; what each is found by is its row's business. */
const QUICK = [
  "M01",
  "M02",
  "M03",
  "M05",
  "M07",
  "M08",
  "M09",
  "M12",
  "M13",
  "M14",
  "M16",
  "M18",
  "M19",
  "M20",
  "M21",
  "M22",
  "M24",
  "M25",
  "M26",
  "M27",
  "M28",
  "M29",
  "M30",
];
const MINUTES = 60_000;

test("there is one for each row that the model has the parts for", () => {
  expect(mutantNames().map((name) => name.slice(0, 3).toUpperCase())).toEqual(ALL);
});

test(
  "each is found by the kind of check that its row names, and its scenario is clean without it",
  async () => {
    const plan = { ...planMutants({ ids: QUICK, seeds: "2", workers: "2" }), points: 2_000_000 };
    const result = await runMutants(plan);
    expect(result.outcome).toBe("completed");
    const told = result.mutants.map(({ id, seedsFound, cleanFindings }) => ({
      id,
      seedsFound,
      cleanFindings,
    }));
    expect(told).toEqual(QUICK.map((id) => ({ id, seedsFound: 2, cleanFindings: [] })));
    for (const {
      check,
      oracles,
      medianSchedules,
      minimisedSwitches,
      cleanPoints,
      medianPoints,
    } of result.mutants) {
      expect(oracles).toContain(check);
      expect(medianSchedules).toBeGreaterThan(0);
      expect(minimisedSwitches).not.toBeNull();
      expect(cleanPoints).toBeGreaterThanOrEqual(10 * (medianPoints ?? 0));
    }
    expect([result.cleanViolations, mutantsExitCode(result)]).toEqual([0, 0]);
    const report = mutantsReport(result, PLAIN);
    for (const id of QUICK) expect(report).toMatch(new RegExp(`^  ${id} .* 2/2 `, "m"));
  },
  5 * MINUTES,
);

test(
  "one that is not found is said to be so",
  async () => {
    const result = await runMutants({ ...planMutants({ ids: ["M15"], seeds: "1" }), points: 1 });
    expect(result.mutants).toMatchObject([
      { id: "M15", seedsFound: 0, seeds: 1, check: null, medianSeconds: null },
    ]);
    expect(mutantsReport(result, PLAIN)).toContain("not found in at least 9 of 10 seeds: M15");
    expect(mutantsExitCode(result)).toBe(3);
  },
  MINUTES,
);

test.each([{ ids: ["M99"] }, { seeds: "0" }, { seconds: "soon" }, { workers: "-1" }])(
  "%o is refused",
  (request) => {
    expect(() => planMutants(request)).toThrow(UsageError);
  },
);

test("a mutant gets the machine that it needs", async () => {
  const { target } = await planExplore({ scenario: "m17", mutant: "m17", seed: "1" });
  expect(target.config).toMatchObject({
    vcpus: 3,
    switches: { pinning: false },
    reuse: "first-in-first-out",
  });
});

test("a crash is no check's finding", () => {
  expect([oracleOf("exception"), oracleOf("domain-crash"), oracleOf("guest")]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect([oracleOf("audit roots-are-loaded"), oracleOf("lifetime"), oracleOf("lock-order")]).toEqual([
    "INV",
    "UAF",
    "LOCK",
  ]);
  expect(watchersOf(["XLATE", "UAF", "RACE", "LOCK"])).toEqual(["memory", "race", "locks"]);
});
