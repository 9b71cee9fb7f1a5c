/** `umbra stress` as a process: its exit codes, what it prints and what it writes. */
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { CompareResult, StressResult } from "../../src/report/types.ts";
import { umbra } from "./umbra.ts";
import type { Run } from "./umbra.ts";

const SCENARIOS = "./test/engines/stress/scenarios";
const COUNT = ["stress", `${SCENARIOS}/count.ts`];
const BROKEN = ["stress", `${SCENARIOS}/breaks-promise.ts`];
const COMMAND = /^umbra stress \S+ --guest 4level --vcpus \d --(seconds|ops) \S+ --seed \d+ --preset talk/;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "umbra-stress-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function written(file: string): StressResult {
  return JSON.parse(readFileSync(file, "utf8"));
}

test("prints the command, the report and a verdict, and writes the result", async () => {
  const json = join(folder, "result.json");
  const { code, out, err } = await umbra([...COUNT, "--ops", "20000", "--json", json]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const lines = out.trimEnd().split("\n");
  expect(lines[0]).toMatch(COMMAND);
  expect(lines.at(-1)).toBe("no violations");
  const result = written(json);
  expect(result).toMatchObject({ engine: "stress", outcome: "completed", violations: [] });
  expect(result.command).toBe(lines[0]);
  expect(readdirSync(folder)).toEqual(["result.json"]);
});

test("writes nothing but the result to standard output when told so", async () => {
  const { code, out } = await umbra([...COUNT, "--ops", "1000", "--json", "-"]);
  const result: StressResult = JSON.parse(out);
  expect({ code, outcome: result.outcome }).toEqual({ code: 0, outcome: "completed" });
});

test("a violation is exit code 1, and the command that shows it again is printed", async () => {
  const { code, out } = await umbra([...BROKEN, "--ops", "1000", "--seed", "7", "--set", "lock=ticket"]);
  expect(code).toBe(1);
  expect(out.trimEnd().split("\n").slice(-4)).toEqual([
    "2 violations",
    "  memory on vCPU 0: A planted finding.",
    "  scenario: A planted promise does not hold.",
    "to see it again: umbra stress ./test/engines/stress/scenarios/breaks-promise.ts --guest 4level --vcpus 1 " +
      "--ops 1000 --seed 7 --preset talk --set lock=ticket",
  ]);
});

test("a worker that dies is exit code 5, and what was measured is kept", async () => {
  const json = join(folder, "result.json");
  const { code, out, err } = await umbra(["stress", `${SCENARIOS}/vanishes.ts`, "--json", json]);
  expect(code).toBe(5);
  const line = "a worker died: the worker of vCPU 1 (vanisher) was lost: worker exited with code: 3";
  expect(out).toContain(line);
  expect(err).toBe(`umbra: ${line}\n`);
  expect(out).toMatch(/\nto see it again: umbra stress /);
  expect(written(json).vcpus[0]?.operations).toBeGreaterThan(0);
});

async function interrupted(signal: NodeJS.Signals, delayMs: number): Promise<Run & { result: StressResult }> {
  const json = join(folder, "result.json");
  const run = await umbra([...COUNT, "--seconds", "60", "--json", json], (child, output) => {
    const timer = setInterval(() => {
      if (!COMMAND.test(output())) return;
      clearInterval(timer);
      setTimeout(() => child.kill(signal), delayMs);
    }, 20);
  });
  return { ...run, result: written(json) };
}

test.each([
  { signal: "SIGINT", expected: 130 },
  { signal: "SIGTERM", expected: 143 },
] as const)("$signal in mid-run gives a summary and exit code $expected", async ({ signal, expected }) => {
  let operations = 0;
  // On a busy machine the threads may not have started yet.
  for (let delayMs = 1500; operations === 0 && delayMs < 9000; delayMs += 2500) {
    // oxlint-disable-next-line no-await-in-loop -- one run after another, until one is met in its middle
    const { code, out, err, result } = await interrupted(signal, delayMs);
    expect({ code, err }).toEqual({ code: expected, err: "" });
    expect(out).toContain(`interrupted: by ${signal}\nno violations until then\n`);
    expect(result).toMatchObject({ outcome: "interrupted", signal });
    expect(result.seconds).toBeLessThan(10);
    operations = result.operations;
    expect(result.tornDown).toBe(operations > 0);
  }
  expect(operations).toBeGreaterThan(0);
});

test.each([
  { what: "a full disk", json: "/dev/full", reason: "no space left on the device" },
  { what: "a folder that is not there", json: "absent/result.json", reason: "there is no such folder" },
  { what: "a folder in place of the file", json: ".", reason: "it is a folder" },
  {
    what: "a file in place of the folder",
    json: "package.json/result.json",
    reason: "a part of the path is not a folder",
  },
])("with $what the result goes to standard output, exit code 5", async ({ json, reason }) => {
  const { code, out, err } = await umbra([...COUNT, "--ops", "1000", "--json", json]);
  expect(code).toBe(5);
  expect(err).toBe(
    `umbra: --json ${json}: cannot be written: ${reason}; the result follows on standard output\n`,
  );
  const result: StressResult = JSON.parse(out.trimEnd().split("\n").at(-1) ?? "");
  expect(result.outcome).toBe("completed");
  expect(statSync("/dev/full").isCharacterDevice()).toBe(true);
});

test("a violation outweighs a result that cannot be written", async () => {
  const { code, err } = await umbra([...BROKEN, "--ops", "1000", "--json", "/dev/full"]);
  expect(code).toBe(1);
  expect(err.split("\n")).toHaveLength(2);
});

test("a result replaces the file that a link leads to, not the link", async () => {
  const target = join(folder, "target.json");
  const link = join(folder, "link.json");
  writeFileSync(target, "old");
  symlinkSync(target, link);
  expect((await umbra([...COUNT, "--ops", "1000", "--json", link])).code).toBe(0);
  expect(written(target).engine).toBe("stress");
  expect(readdirSync(folder).toSorted()).toEqual(["link.json", "target.json"]);
});

test("a reader who has seen enough is no error", async () => {
  const { err } = await umbra([...COUNT, "--ops", "1000"], (child) => child.stdout?.destroy());
  expect(err).toBe("");
});

test("--vs runs two presets in turn and compares them", async () => {
  const json = join(folder, "result.json");
  const { code, out } = await umbra([...COUNT, "--seconds", "2", "--vs", "talk-before", "--json", json]);
  expect(code).toBe(0);
  expect(out).toContain("5 slices of talk, 5 slices of talk-before, in turn;");
  const result: CompareResult = JSON.parse(readFileSync(json, "utf8"));
  const [first, second] = result.sides;
  expect([first.preset, second.preset]).toEqual(["talk", "talk-before"]);
  expect(result.ratios.operationsPerSecond).toBeCloseTo(
    second.operationsPerSecond / first.operationsPerSecond,
  );
  expect(first.counters["prefetch"]).toBeGreaterThan(0);
  expect(second.counters["prefetch"]).toBe(0);
  expect(result.ratios.counters["prefetch"]).toBe(0);
});

test("a worker that cannot load the scenario is told, and nobody waits for it", async () => {
  const file = join(folder, "main-only.ts");
  writeFileSync(
    file,
    `import { isMainThread } from "node:worker_threads";
    import { defineScenario } from "umbra";
    if (!isMainThread) throw new Error("planted");
    export default defineScenario({
      name: "main-only", about: "a test", guests: ["4level"], vcpus: { min: 1, max: 2, default: 2 },
      machine: { ramPages: 256 }, options: {}, boot: () => null, programs: [() => undefined],
    });`,
  );
  const { code, out } = await umbra(["stress", file]);
  expect(code).toBe(5);
  expect(out).toContain("a worker died: the worker of vCPU 0 (program 0) was lost: planted");
});
