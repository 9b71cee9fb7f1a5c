/** Stress runs of tiny scenarios, in this process: what a healthy one measures, and what each planted fault makes of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { planStress } from "../../../src/engines/stress/plan.ts";
import type { StressRequest } from "../../../src/engines/stress/plan.ts";
import { runStress } from "../../../src/engines/stress/engine.ts";
import type { StressHooks } from "../../../src/engines/stress/run.ts";
import { cutTrace } from "../../../src/engines/replay/cut-trace.ts";
import { ROOT } from "../../source.ts";
import type { StressResult } from "../../../src/report/types.ts";

const PAE = join(ROOT, "scenarios/traces/pae.trace.gz");

/** For runs that get stuck: parking takes a busy machine a while, but nobody wants to wait for long. */
const IMPATIENT: StressHooks = { watchdogSeconds: 1.5 };

async function run(
  scenario: string,
  request: Omit<StressRequest, "scenario"> = {},
  hooks: StressHooks = {},
): Promise<StressResult> {
  const file = join(import.meta.dirname, "scenarios", `${scenario}.ts`);
  const plan = await planStress({ scenario: file, seconds: "1", seed: "1", ...request });
  return runStress(plan, hooks);
}

function said(result: StressResult): string[] {
  return result.violations.map(({ check, vcpu, message }) => `${check} ${String(vcpu)}: ${message}`);
}

test("a healthy run measures every vCPU, audits often, leaks nothing and finds nothing", async () => {
  const result = await run("count", { vcpus: "3" });
  expect(result).toMatchObject({ outcome: "completed", reason: null, signal: null, tornDown: true });
  expect(result).toMatchObject({ violations: [], stuck: [] });
  expect(result.vcpus.map(({ program, end }) => `${program} ${end}`)).toEqual(
    Array.from({ length: 3 }, () => "counter finished"),
  );
  for (const { operations, operationsPerSecond } of result.vcpus) {
    expect(operations).toBeGreaterThan(0);
    expect(operationsPerSecond).toBeCloseTo(operations / result.seconds);
  }
  expect(result.audits).toBeGreaterThanOrEqual(3);
  expect(result.operations).toBe(result.vcpus.reduce((sum, row) => sum + row.operations, 0));
  expect(result.counters["tlb_hits"]).toBeGreaterThan(0);
  expect(result.locks.map(({ name }) => name)).toEqual(["p2m", "paging", "heap"]);
});

test("a run that is bounded by operations ends when every vCPU has executed them", async () => {
  const result = await run("count", { ops: "5000", seconds: undefined, guest: "pae", set: ["step=2"] });
  expect(result).toMatchObject({ outcome: "completed", violations: [], tornDown: true });
  for (const { operations } of result.vcpus) expect(operations).toBeGreaterThanOrEqual(5000);
  expect(result.operations).toBeLessThan(11_000);
  expect(result.settings).toMatchObject({ seconds: null, operations: 5000, guest: "pae" });
  expect(result.settings.options).toEqual({ step: 2, kind: "plain", isCareful: true });
});

test("vCPUs are parked at least every 100 ms", async () => {
  const result = await run("count", { seconds: "2", vcpus: "1" });
  // The last audit is made after the run; between two audits a park and a tick may be late on a busy machine.
  expect(result.audits - 1).toBeGreaterThanOrEqual(Math.floor(result.seconds / 0.2));
  expect(result.seconds + result.parkedSeconds).toBeGreaterThan(1.9);
});

test("a toolstack works beside the vCPUs and is parked with them", async () => {
  const result = await run("with-toolstack");
  expect(result).toMatchObject({ outcome: "completed", violations: [], tornDown: true });
  expect(result.vcpus.at(-1)).toMatchObject({ vcpu: 2, program: "toolstack", end: "finished" });
  expect(result.counters["p2m_writes"]).toBeGreaterThan(0);
});

test("a domain that the toolstack destroys ends its vCPUs, and leaks nothing", async () => {
  const result = await run("with-toolstack", { set: ["destroy=on"], seconds: "20" });
  expect(result).toMatchObject({ outcome: "completed", violations: [], tornDown: true });
  expect(result.vcpus.map(({ end }) => end)).toEqual(["stopped", "stopped", "finished"]);
  expect(result.seconds).toBeLessThan(15);
});

test("findings of programs and promises that are not kept are violations", async () => {
  const result = await run("breaks-promise");
  expect(said(result)).toEqual([
    "memory 0: A planted finding.",
    "scenario -1: A planted promise does not hold.",
  ]);
  expect(result.outcome).toBe("completed");
});

test("an audit that finds something ends the run", async () => {
  const result = await run("corrupts", { seconds: "20" });
  expect(result.outcome).toBe("completed");
  expect(result.reason).toBe("an audit found something wrong, which ended the run early");
  expect(said(result)).toEqual([
    expect.stringMatching(/^audit page-counts-are-exact -1: page 0x[0-9a-f]+ has 3 references, 2 are found$/),
  ]);
  expect(result.tornDown).toBe(false);
});

test("what the teardown finds is a leak", async () => {
  const result = await run("corrupts", { set: ["when=leaving"] });
  expect(said(result)).toEqual([
    "lifetime -1: gfn 0x5 has 2 references where 1 is due.",
    "lifetime -1: machine frames not free after the teardown: 1.",
  ]);
  expect(result).toMatchObject({ outcome: "completed", tornDown: true });
});

test("a lock that is held at the end is named with its holder and its place", async () => {
  const result = await run("keeps-lock");
  expect(said(result)).toEqual([
    "lock-held-at-exit 1: vCPU 1 has ended while it holds the heap lock taken at test.",
  ]);
  expect(result.tornDown).toBe(false);
});

test("a vCPU that never parks is named by the watchdog", async () => {
  const result = await run("spins", { seconds: "20" }, IMPATIENT);
  expect(result).toMatchObject({
    outcome: "stuck",
    reason: "not everybody parked for an audit within 1.5 s: vCPU 1 (spinner)",
    violations: [],
  });
  expect(result.stuck[1]).toMatchObject({
    vcpu: 1,
    program: "spinner",
    state: "running",
    doing: "guest code",
    address: "0x00007000",
    operations: 1,
    waitsFor: null,
    holds: [],
  });
  expect(result.stuck[1]?.stillSeconds).toBeGreaterThan(1);
  expect(result.vcpus.map(({ end }) => end)).toEqual([
    expect.stringMatching(/finished|stopped/),
    "terminated",
  ]);
  expect(result.vcpus[0]?.operations).toBeGreaterThan(0);
});

test("vCPUs that wait for each other's locks are a deadlock", async () => {
  const result = await run("deadlocks", { seconds: "20" }, IMPATIENT);
  expect(result.outcome).toBe("stuck");
  expect(said(result)).toEqual([
    "deadlock 0: vCPU 0 waits for the paging lock, which vCPU 1 took at test; " +
      "vCPU 1 waits for the p2m lock, which vCPU 0 took at test.",
  ]);
  expect(result.stuck.map(({ holds }) => holds)).toEqual([
    ["the p2m lock taken at test"],
    ["the paging lock taken at test"],
  ]);
});

test("a vCPU that waits for a flush is told with whom it waits for", async () => {
  const result = await run("ignores-flush", { seconds: "20" }, IMPATIENT);
  expect(result).toMatchObject({ outcome: "stuck", violations: [] });
  expect(result.stuck[0]).toMatchObject({
    doing: "waiting for a flush",
    address: "0x00001234",
    waitsFor: "vCPU 1 to acknowledge a flush",
  });
});

test("a lock that lets everybody in is found", async () => {
  const result = await run("broken-lock", { seconds: "20", vcpus: "4", guest: "4level" }, IMPATIENT);
  const isFound = result.violations.length > 0 || result.outcome !== "completed";
  expect({ isFound, outcome: result.outcome, said: said(result) }).toMatchObject({ isFound: true });
});

test("vCPUs that are all halted have lost a wakeup", async () => {
  const result = await run("sleeps", { seconds: "20" }, IMPATIENT);
  expect(result.outcome).toBe("stuck");
  expect(result.reason).toMatch(/^no vCPU has begun an operation for 1\.\d s$/);
  expect(said(result)).toEqual(["lost-wakeup -1: All that has not ended is halted: vCPU 0, vCPU 1."]);
  expect(result.vcpus.map(({ end }) => end)).toEqual(["stopped", "stopped"]);
});

test("a program that throws is told with its place, and ends the run", async () => {
  const result = await run("throws", { seconds: "20" });
  expect(result.outcome).toBe("worker-died");
  expect(result.reason).toMatch(
    /^the worker of vCPU 1 \(thrower\) threw TypeError: planted \(at \/.*\/throws\.ts:18\)$/,
  );
  expect(result.vcpus.map(({ end }) => end)).toEqual([expect.stringMatching(/finished|stopped/), "threw"]);
  expect(result).toMatchObject({ tornDown: false, violations: [] });
});

test("a worker that ends itself is told, and what the others did is kept", async () => {
  const result = await run("vanishes", { seconds: "20" });
  expect(result).toMatchObject({
    outcome: "worker-died",
    reason: "the worker of vCPU 1 (vanisher) was lost: worker exited with code: 3",
  });
  expect(result.vcpus[0]?.operations).toBeGreaterThan(0);
  expect(result.vcpus.map(({ end }) => end)).toEqual([expect.stringMatching(/finished|stopped/), "died"]);
});

test("a rejected promise that a program leaves behind is told", async () => {
  const result = await run("rejects", { seconds: "20" });
  expect(result).toMatchObject({
    outcome: "worker-died",
    reason: "the worker of vCPU 1 (rejecter) was lost: planted",
  });
});

test("a program that returns in user mode is told so", async () => {
  const { violations } = await run("stays-user", { seconds: "20" });
  expect(violations).toEqual([
    { check: "guest", vcpu: 0, message: expect.stringMatching(/^the program returned in user mode: /) },
  ]);
});

test("a worker that is terminated from outside is told", async () => {
  let threads: readonly Worker[] = [];
  const result = await run(
    "count",
    { seconds: "20" },
    {
      onWorkers: (started) => {
        threads = started;
      },
      onProgress: (_, note) => {
        if (Number.parseInt(note, 10) === 2) void threads[0]?.terminate();
      },
    },
  );
  expect(result.outcome).toBe("worker-died");
  expect(result.reason).toMatch(/^the worker of vCPU [01] \(counter\) was lost: worker exited with code: 1$/);
  expect(result.vcpus.map(({ end }) => end)).toContain("died");
  expect(result.vcpus.some(({ end }) => end === "finished" || end === "stopped")).toBe(true);
});

test("those who wait for a lock of a worker that died are not waited for", async () => {
  const result = await run("dies-with-lock", { seconds: "20" });
  expect(result).toMatchObject({
    outcome: "worker-died",
    reason: "the worker of vCPU 1 (dier) was lost: worker exited with code: 3",
  });
  expect(result.vcpus.map(({ end }) => end)).toEqual(["terminated", "died"]);
});

test("an interruption ends the run early with what was measured", async () => {
  const interruption = new AbortController();
  let audits = 0;
  const result = await run(
    "count",
    { seconds: "60" },
    {
      interruption: interruption.signal,
      onProgress: (_, note) => {
        audits = Number.parseInt(note, 10);
        if (audits === 3) interruption.abort("SIGINT");
      },
    },
  );
  expect(result).toMatchObject({
    outcome: "interrupted",
    reason: "by SIGINT",
    signal: "SIGINT",
    violations: [],
    tornDown: true,
  });
  expect(result.operations).toBeGreaterThan(0);
  expect(result.seconds).toBeLessThan(30);
});

test("an interruption before the start ends the run without an operation", async () => {
  const interruption = new AbortController();
  interruption.abort("SIGTERM");
  const result = await run("count", {}, { interruption: interruption.signal });
  expect(result).toMatchObject({ outcome: "interrupted", signal: "SIGTERM", operations: 0, violations: [] });
});

test("a recorded guest is replayed again and again, on machines of its own", async () => {
  const folder = mkdtempSync(join(tmpdir(), "umbra-run-"));
  const file = join(folder, "short.trace.gz");
  await cutTrace(PAE, 300, file);
  const result = await runStress(await planStress({ scenario: file, ops: "12000" }));
  rmSync(folder, { recursive: true });
  expect(result).toMatchObject({ outcome: "completed", violations: [], tornDown: true });
  expect(result.settings).toMatchObject({ guest: "recorded", vcpus: 2, scenario: file });
  // A replay has some 9,000 operations, and an audit at its end.
  expect(result.audits).toBeGreaterThanOrEqual(3);
  expect(result.operations).toBeGreaterThanOrEqual(24_000);
  expect(result.counters["demand_faults"]).toBe(result.faults);
  expect(result.vcpus.map(({ end }) => end)).toEqual(["finished", "finished"]);
});
