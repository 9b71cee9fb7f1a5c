/** Whole replays, on a thread for each recorded CPU. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UsageError } from "../../../src/engines/errors.ts";
import { verifyTrace } from "../../../src/engines/replay/verify.ts";
import type { VerifyResult } from "../../../src/report/types.ts";
import { PLAIN } from "../../../src/report/text.ts";
import { verifyText } from "../../../src/report/verify-text.ts";
import { TraceBuilder } from "../../guest/trace/trace-builder.ts";

const TRACES = join(import.meta.dirname, "../../../scenarios/traces");
const FAULTY_WORKER = join(import.meta.dirname, "faulty-worker.ts");

const PAGING_ON = 0x8005_0033;
const PSE = 0x10;
const LARGE = 0x1e3;
const USER = 0x67;
const ROOT = 0x10_0000;
const LEAF = 0x10_1000;
const TABLE = 0x10_2000;
const DIRECT_MAP = 0xc000_0000;
const LINEAR = 0x40_0000;

let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "umbra-verify-"));
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function written(name: string, trace: TraceBuilder): string {
  const file = join(folder, name);
  writeFileSync(file, trace.packed());
  return file;
}

/** CPU 1 fills a page, makes it a table and changes it; CPU 0 walks it before and after. */
function twoCpus(): TraceBuilder {
  return (
    new TraceBuilder(8 * 2 ** 20, 2)
      .state(0, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
      .state(1, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE })
      .page(ROOT, 2, 4, { 1: LEAF | USER, 768: LARGE })
      .page(LEAF, 1, 4, { 0: 0x20_0000 | USER })
      .walk({ linear: LINEAR, physical: 0x20_0000, user: true }, 0)
      .walk({ linear: LINEAR, physical: 0x20_0000, user: true }, 1)
      .page(TABLE, 1, 4, { 0: 0x21_0000 | USER, 1: 0x24_0000 | USER }, 1)
      .store({ physical: ROOT + 8, linear: DIRECT_MAP + ROOT + 8, size: 4, value: TABLE | USER }, 1)
      .walk({ linear: 2 * LINEAR + 0x1000, physical: 0x24_0000, user: true }, 0)
      .walk({ linear: 2 * LINEAR, physical: 0x21_0000, user: true }, 0)
      // In causal order too, what follows has to wait for the walks before.
      .invlpg(3 * LINEAR, 0)
      .store({ physical: TABLE, linear: DIRECT_MAP + TABLE, size: 4, value: 0x22_0000 | USER }, 1)
      .invlpg(2 * LINEAR, 0)
      .walk({ linear: 2 * LINEAR, physical: 0x22_0000, user: true }, 0)
  );
}

function wrongIn(
  result: VerifyResult,
): Pick<
  VerifyResult,
  "outcome" | "fillMismatches" | "faultMismatches" | "storeMismatches" | "tableMismatches" | "violations"
> {
  const { outcome, fillMismatches, faultMismatches, storeMismatches, tableMismatches, violations } = result;
  return { outcome, fillMismatches, faultMismatches, storeMismatches, tableMismatches, violations };
}

const NOTHING_WRONG = {
  outcome: "completed",
  fillMismatches: 0,
  faultMismatches: 0,
  storeMismatches: 0,
  tableMismatches: 0,
  violations: [],
};

test.each([
  { name: "2level", handovers: 493, fills: 38_823, faults: 756, stores: 9337 },
  { name: "pae", handovers: 277, fills: 32_530, faults: 545, stores: 15_892 },
  { name: "4level", handovers: 385, fills: 40_517, faults: 707, stores: 7534 },
])("every record of the bundled $name guest agrees, in strict order", async ({ name, ...counts }) => {
  const result = await verifyTrace({ file: join(TRACES, `${name}.trace.gz`) });
  expect(wrongIn(result)).toEqual(NOTHING_WRONG);
  expect(result).toMatchObject({ records: 50_011, ...counts });
  for (const used of [
    "tlbHits",
    "shadowWalks",
    "demandFaults",
    "emulatedStores",
    "mmio",
    "unshadows",
  ] as const) {
    expect(result[used]).toBeGreaterThan(0);
  }
});

test.each(["2level", "pae", "4level"])("the bundled %s guest agrees in causal order", async (name) => {
  const result = await verifyTrace({ file: join(TRACES, `${name}.trace.gz`), order: "causal" });
  expect(wrongIn(result)).toEqual(NOTHING_WRONG);
});

test.each(["2level", "pae", "4level"])(
  "the bundled %s guest agrees with every optimisation off",
  async (name) => {
    const result = await verifyTrace({ file: join(TRACES, `${name}.trace.gz`), preset: "talk-before" });
    expect(wrongIn(result)).toEqual(NOTHING_WRONG);
  },
);

test.each(["2level", "pae", "4level"])(
  "the bundled %s guest agrees with what the talk says is coming",
  async (name) => {
    const file = join(TRACES, `${name}.trace.gz`);
    // Pages that are out of sync leave the emulator hardly anything.
    const result = await verifyTrace({ file, preset: "umbra", set: ["out-of-sync=off"] });
    expect(wrongIn(result)).toEqual(NOTHING_WRONG);
    const { counters, lockAcquisitions } = result;
    // Most stores to pagetables come in a row, and a PAE kernel's in halves.
    const fast = counters["fault_fast_emulate"] ?? 0;
    expect(fast).toBeGreaterThan(4 * (counters["fault_emulate_write"] ?? 0));
    expect((counters["em_ex_pt"] ?? 0) > 1000).toBe(name === "pae");
    expect(counters["translation_cache_hits"]).toBeGreaterThan(fast / 2);
    expect(lockAcquisitions).toBeGreaterThan(0);
    const outOfSync = await verifyTrace({ file, preset: "umbra" });
    expect(wrongIn(outOfSync)).toEqual(NOTHING_WRONG);
    expect(outOfSync.counters["unsync"]).toBeGreaterThan(100);
    expect(outOfSync.emulatedStores).toBeLessThan(result.emulatedStores / 2);
  },
);

test("settings of the machine are obeyed and told", async () => {
  const set = ["pool=400", "prefetch=off", "reuse=last-in-first-out"];
  const result = await verifyTrace({ file: written("set.gz", twoCpus()), set });
  expect(wrongIn(result)).toEqual(NOTHING_WRONG);
  expect(result).toMatchObject({
    switches: { prefetch: false },
    machine: { pool: 400, reuse: "last-in-first-out" },
    counters: { prefetch: 0 },
  });
});

test.each(["strict", "causal"])(
  "two CPUs that change each other's tables agree in %s order",
  async (order) => {
    const result = await verifyTrace({ file: written(`${order}.gz`, twoCpus()), order });
    expect(wrongIn(result)).toEqual(NOTHING_WRONG);
  },
);

test("in causal order accesses are made beside stores, and held against the tables of that moment", async () => {
  const trace = new TraceBuilder(8 * 2 ** 20, 3);
  for (const cpu of [0, 1, 2]) trace.state(cpu, { cr0: PAGING_ON, cr3: ROOT, cr4: PSE });
  trace.page(ROOT, 2, 4, { 1: LEAF | USER, 768: LARGE }).page(LEAF, 1, 4, { 0: 0x20_0000 | USER });
  for (let round = 0; round < 3000; round++) {
    const frame = round % 3 === 0 ? 0 : 0x20_0000 + (round % 3) * 0x1000;
    trace.store({ physical: LEAF, linear: DIRECT_MAP + LEAF, size: 4, value: frame && frame | USER }, 0);
    for (const cpu of [1, 2]) {
      if (frame === 0) trace.fault(LINEAR, 6, { cpl: 3, cpu });
      else trace.walk({ linear: LINEAR, physical: frame, user: true, access: "write" }, cpu);
    }
  }
  const result = await verifyTrace({ file: written("beside.gz", trace), order: "causal" });
  expect(wrongIn(result)).toEqual(NOTHING_WRONG);
  expect(result).toMatchObject({ fills: 4000, faults: 2000, stores: 3000 });
});

test.each(
  ["corruptedEntry", "skippedRevocation", "droppedFlush"].flatMap((name) => [
    { name, order: "strict" },
    { name, order: "causal" },
  ]),
)("a planted fault is found: $name, in $order order", async ({ name, order }) => {
  const file = written(`${name}.gz`, twoCpus());
  const result = await verifyTrace({ file, order }, { worker: { file: FAULTY_WORKER, name } });
  expect(result.fillMismatches).toBeGreaterThan(0);
});

test("a mismatch is told with both walks and the last store to the table that differs", async () => {
  const file = written("explained.gz", twoCpus());
  const worker = { file: FAULTY_WORKER, name: "droppedFlush" };
  const text = verifyText(await verifyTrace({ file }, { worker }), PLAIN);
  expect(text).toContain(
    "record 22, FILL of CPU 0: user read of 0x800000 at CPL 3 leads to 0x220000 with rights rwx: it ended in frame 0x210",
  );
  expect(text).toMatch(/guest walk +shadow walk/);
  expect(text).toContain(
    "last store to the entry at 0x102000: record 20, PTW of CPU 1: 4 bytes 0x220067 over 0x210067 at 0x102000 through 0xc0102000",
  );
});

test("a table that differs at the end is a mismatch", async () => {
  // The walk sets A in the replay, but the recording does not say so.
  const trace = twoCpus()
    .store({ physical: TABLE + 8, linear: DIRECT_MAP + TABLE + 8, size: 4, value: 0x23_0007 }, 1)
    .walk({ linear: 2 * LINEAR + 0x2000, physical: 0x23_0000, user: true }, 0);
  const result = await verifyTrace({ file: written("end.gz", trace) });
  expect(wrongIn(result)).toEqual({ ...NOTHING_WRONG, tableMismatches: 1 });
  expect(result.first).toEqual([
    [
      "at the end the table word at 0x102008 is 0x230027, not 0x230007",
      "  last store to the entry at 0x102008: record 23, PTW of CPU 1: 4 bytes 0x230007 over 0x0 at 0x102008 through 0xc0102008",
    ],
  ]);
});

test("a domain that crashes is a violation, and the rest is not lost", async () => {
  const trace = twoCpus().cr(3, 0x1000_0000, 1).walk({ linear: LINEAR, physical: 0x20_0000, user: true }, 0);
  const result = await verifyTrace({ file: written("crash.gz", trace) });
  expect(result).toMatchObject({ outcome: "stopped", tableMismatches: null, stores: 2 });
  expect(result.violations.map(({ check }) => check)).toContain("domain-crash");
});

test("a thread that throws ends the replay with its reason", async () => {
  const file = join(TRACES, "2level.trace.gz");
  const result = await verifyTrace({ file }, { worker: { file: FAULTY_WORKER, name: "throwing" } });
  expect(result).toMatchObject({ outcome: "worker-died", reason: "the thread of vCPU 0 ended: planted" });
});

test("a thread that is terminated from outside ends the replay", async () => {
  const result = await verifyTrace(
    { file: join(TRACES, "2level.trace.gz") },
    {
      onWorkers: ([first]: readonly Worker[]) => {
        setTimeout(() => void first?.terminate(), 800);
      },
      worker: { file: FAULTY_WORKER, name: "hanging" },
    },
  );
  expect(result.outcome).toBe("worker-died");
  expect(result.reason).toMatch(/^the thread of vCPU \d ended: /);
});

test("a replay that does not move is stopped, and told who does not", async () => {
  const file = join(TRACES, "2level.trace.gz");
  const hooks = { watchdogSeconds: 1, worker: { file: FAULTY_WORKER, name: "hanging" } };
  const result = await verifyTrace({ file }, hooks);
  expect(result.outcome).toBe("stuck");
  expect(result.reason).toMatch(
    /^no vCPU has moved for \d\.\d s: vCPU 0 is at a page fault; vCPU 1 is at its records, or its turn to come$/,
  );
});

test("a replay that is interrupted tells how far it got", async () => {
  const interruption = new AbortController();
  const result = await verifyTrace(
    { file: join(TRACES, "2level.trace.gz") },
    {
      interruption: interruption.signal,
      onProgress: (fraction) => {
        if (fraction > 0.1) interruption.abort("SIGINT");
      },
    },
  );
  expect(result).toMatchObject({ outcome: "interrupted", signal: "SIGINT", tableMismatches: null });
  expect(result.fills).toBeGreaterThan(0);
  expect(result.replayed).toBeGreaterThan(result.records / 20);
  expect(result.replayed).toBeLessThan(result.records);
  const text = verifyText(result, PLAIN);
  expect(text).toMatch(/2level\.trace\.gz: [\d,]+ of [\d,]+ records of 2 CPUs$/m);
  expect(text).toContain("everything agreed with the recording until then");
});

test.each([
  [{ order: "free" }, '--order wants strict or causal, got "free"'],
  [{ preset: "xen" }, '--preset wants talk-before, talk, xen-3.3 or umbra, got "xen"'],
  [{ set: ["colour=red"] }, "--set colour: there is no such option"],
  [{ set: ["pool=3"] }, "--set pool: 2 vCPUs and 2048 pages of memory need a pool of at least"],
])("refuses %j", async (options, message) => {
  const run = verifyTrace({ file: written("refused.gz", twoCpus()), ...options });
  await expect(run).rejects.toThrow(UsageError);
  await expect(run).rejects.toThrow(message);
});
