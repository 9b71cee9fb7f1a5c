/** `umbra explore` and what follows a failure, as people use them. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, describe, expect, test } from "vitest";
import type { ExploreResult, ReplayResult, StressResult } from "../../src/report/types.ts";
import { ROOT } from "../source.ts";
import { umbra } from "./umbra.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-explore-"));
afterAll(() => rmSync(folder, { recursive: true }));

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
for (const name of ["explore", "replay"])
  ajv.addSchema(JSON.parse(readFileSync(join(ROOT, "docs/schema", `${name}.json`), "utf8")), name);

function expectSchema(name: string, value: unknown): void {
  ajv.validate(name, value);
  expect(ajv.errors ?? []).toEqual([]);
}

async function explored(
  ...args: string[]
): Promise<{ code: number | null; result: ExploreResult; err: string }> {
  const { code, out, err } = await umbra(["explore", ...args, "--failures", folder, "--json", "-"]);
  return { code, err, result: JSON.parse(out) };
}

/** The same, however fast the computer is. */
function timeless({ seconds, pointsPerSecond, ...rest }: ExploreResult): object {
  return { ...rest, isTimed: seconds >= 0 && pointsPerSecond >= 0 };
}

describe("the model as it is", () => {
  test("has nothing to report, twice the same, on one worker or two", async () => {
    const args = ["m07", "--strategy", "random", "--schedules", "48", "--seed", "7"];
    const one = await explored(...args, "--workers", "1");
    const two = await explored(...args, "--workers", "2");
    expect([one.code, two.code, one.err]).toEqual([0, 0, ""]);
    expectSchema("explore", one.result);
    expect(one.result).toMatchObject({
      executions: 48,
      outcome: "completed",
      failures: [],
      nondeterminism: null,
    });
    expect(one.result.verdict).toMatchObject({ word: "Never", failing: 0, low: 0 });
    expect(timeless({ ...two.result, workers: 1 })).toEqual(timeless(one.result));
  });

  test("is inconclusive when executions are cut short", async () => {
    const { code, result } = await explored("m07", "--schedules", "3", "--seed", "1", "--steps", "100");
    expect([code, result.capped, result.verdict.word]).toEqual([3, 3, "Never"]);
  });
});

test("with one thread there is one schedule: it is repeated, and that is all", async () => {
  const { code, result } = await explored("exec-exit", "--vcpus", "1", "--seconds", "60", "--seed", "1");
  expect(code).toBe(0);
  expect(result).toMatchObject({ workers: 1, executions: 1, repeated: 1, nondeterminism: null });
  expect(result.completed).toMatch(/^one thread: there is just one schedule/);
});

test.each(["tiny-pool", "demand-paging", "data-beside-pdpts"])(
  "the vCPUs of %s get in each other's way: every schedule is another trace",
  async (scenario) => {
    const { code, result } = await explored(
      scenario,
      "--strategy",
      "random",
      "--schedules",
      "33",
      "--seed",
      "2",
    );
    expect(code).toBe(0);
    expect(result.traces).toMatchObject({ hashed: 3, distinct: 3 });
  },
);

describe("a mutant", () => {
  const found = explored("m01", "--mutant", "m01", "--seed", "1", "--seconds", "60");

  test("is found, minimised and explained", async () => {
    const { code, result } = await found;
    expect(code).toBe(1);
    expectSchema("explore", result);
    const [failure] = result.failures;
    expect(failure?.key).toMatch(/^audit /);
    expect(failure?.after.preemptions).toBeLessThanOrEqual(3);
    expect(failure?.orders?.length).toBeGreaterThan(0);
    for (const { first, second } of failure?.orders ?? []) expect(first).toBeLessThan(second);
    expect(result.nondeterminism).toBeNull();
  });

  test("fails again from its file and from its token, step by step", async () => {
    const [failure] = (await found).result.failures;
    const fromFile = await umbra(["replay", failure?.folder ?? "", "--json", "-"]);
    const fromToken = await umbra(["replay", failure?.token ?? "", "--json", "-"]);
    const [file, token] = [fromFile, fromToken].map(({ out }): ReplayResult => JSON.parse(out));
    expect([fromFile.code, fromToken.code]).toEqual([1, 1]);
    expectSchema("replay", file);
    expect(file).toMatchObject({ isSameCode: true, fails: true, divergence: null });
    expect(file?.failure.trace).toEqual(failure?.trace);
    expect(token?.failure.trace).toEqual(failure?.trace);
  });

  test("is told with its cause first, and no line is wider than it may be", async () => {
    const [failure] = (await found).result.failures;
    const { out } = await umbra(["explain", failure?.folder ?? ""]);
    const lines = out.split("\n");
    expect(lines[0]).toBe(`${failure?.key ?? ""}, in execution ${String(failure?.iteration)}`);
    const table = lines.slice(lines.findIndex((line) => line.trim().startsWith("vCPU 0  ")));
    for (const line of table.filter((each) => !each.startsWith("to see")))
      expect(line.length).toBeLessThanOrEqual(160);
    expect(out).toContain("it needs these orders");
    expect(out).toContain("src/hypervisor/shadow/");
  });

  test("of a file that was changed, cut, or is from another version is refused in one line", async () => {
    const [failure] = (await found).result.failures;
    const path = join(failure?.folder ?? "", "failure.json");
    const text = readFileSync(path, "utf8");
    const bad = join(folder, "bad.json");
    const cases = [
      [text.replace(/"performed": \d+/, '"performed": 3999'), "digest"],
      [text.slice(0, 1000), "cut"],
      [text.replace('"version": 1', '"version": 99'), "version"],
      ["[]", "version"],
    ] as const;
    for (const [content, says] of cases) {
      writeFileSync(bad, content);
      // oxlint-disable-next-line no-await-in-loop -- one file after another
      const { code, err } = await umbra(["replay", bad]);
      expect([code, err.trim().split("\n").length]).toEqual([2, 1]);
      expect(err).toContain(says);
    }
  });

  test("of a token from other code is followed as far as it fits, and that is said", async () => {
    const [failure] = (await found).result.failures;
    const { out } = await umbra(["replay", (failure?.token ?? "").replace(/:[0-9a-f]{8}:/, ":00000000:")]);
    expect(out).toContain("the code has changed");
  });
});

// Each was found after other executions, whose last thread must not matter to the schedule that is written down.
test.each(["m08", "m15"])("%s fails again in a process of its own, every step as it was", async (name) => {
  const { code, result } = await explored(name, "--mutant", name, "--seed", "1", "--seconds", "120");
  expect(code).toBe(1);
  for (const from of [result.failures[0]?.folder ?? "", result.failures[0]?.token ?? ""]) {
    // oxlint-disable-next-line no-await-in-loop -- one process after another
    const again = await umbra(["replay", from, "--json", "-"]);
    expect(again.code).toBe(1);
    expect(JSON.parse(again.out)).toMatchObject({ fails: true, divergence: null });
  }
});

describe("what cannot be explored", () => {
  const refused = join(folder, "refused.ts");
  writeFileSync(
    refused,
    `import { defineScenario } from "umbra";
export default defineScenario({
  name: "refused", about: "a callback that reaches memory", guests: ["4level"],
  vcpus: { min: 1, max: 2, default: 1 }, options: {}, boot: () => ({}),
  programs: [
    function program(cpu) {
      [1, 2].forEach((address) => cpu.load32(address));
    },
  ],
});
`,
  );

  test.each([
    { args: ["m07", "--strategy", "clever"], says: "--strategy wants portfolio" },
    { args: ["m07", "--mutant", "m99"], says: "--mutant wants" },
    { args: ["no-such"], says: 'there is no scenario "no-such"' },
    { args: ["m07", "--seconds", "1", "--schedules", "1"], says: "exclude each other" },
    { args: ["m07", "--schedules", "0"], says: "--schedules" },
    { args: [refused, "--schedules", "1"], says: "refused.ts:7: a callback reaches shared memory" },
  ])("is told in one line: $says", async ({ args, says }) => {
    const before = readdirSync(folder);
    const { code, err } = await umbra(["explore", ...args, "--failures", folder]);
    expect([code, err.trim().split("\n").length]).toEqual([2, 1]);
    expect(err).toContain(says);
    expect(readdirSync(folder)).toEqual(before);
  });

  test.each([
    "umbra1:m07",
    "nonsense",
    "umbra1:m07?vcpus=1&guest=4level&seed=1&rounds=1&preset=talk&steps=9:1:k:Ag",
  ])("is a bad token: %s", async (token) => {
    const { code, err } = await umbra(["replay", token]);
    expect([code, err.trim().split("\n").length]).toEqual([2, 1]);
    expect(err).toContain("token");
  });
});

test("Ctrl-C ends it with what is known", async () => {
  const run = await umbra(
    ["explore", "map-unmap-shootdown", "--seconds", "60", "--seed", "1"],
    (child, out) => {
      const timer = setInterval(() => {
        if (!out().includes("umbra explore")) return;
        clearInterval(timer);
        setTimeout(() => child.kill("SIGINT"), 3000);
      }, 50);
    },
  );
  expect(run.code).toBe(130);
  expect(run.out).toContain("ended early by SIGINT");
});

test("what a stress run found is searched near: the same scenario, machine and seed", async () => {
  const scenario = "test/engines/stress/scenarios/breaks-promise.ts";
  const stress = await umbra(["stress", scenario, "--ops", "2000", "--seed", "5", "--failures", folder]);
  expect(stress.code).toBe(1);
  const file = /umbra explore --from (\S+)/.exec(stress.out)?.[1] ?? "";
  const kept: { result: StressResult } = JSON.parse(readFileSync(file, "utf8"));
  expect(kept.result.recent.length).toBe(kept.result.settings.vcpus);
  for (const { operations } of kept.result.recent) expect(operations.length).toBeGreaterThan(0);
  const { code, result } = await explored("--from", file, "--schedules", "4");
  expect(code).toBe(1);
  expect(result.settings).toMatchObject({
    guest: kept.result.settings.guest,
    seed: 5,
    vcpus: kept.result.settings.vcpus,
    switches: kept.result.settings.switches,
    options: kept.result.settings.options,
  });
  expect(result.failures.map(({ key }) => key)).toContain(kept.result.violations[0]?.check);
});

test.each([
  { content: "{", says: "cut" },
  { content: '{"version": 9}', says: "no stress failure" },
])("a stress failure that is $says is refused", async ({ content, says }) => {
  const file = join(folder, "bad-stress.json");
  writeFileSync(file, content);
  const { code, err } = await umbra(["explore", "--from", file]);
  expect([code, err.trim().split("\n").length]).toEqual([2, 1]);
  expect(err).toContain(says);
});
