/**
 * vCPUs on real threads whose guests do anything at all to tables that they share, while a toolstack moves pages. Nothing
 * judges their answers here; but whenever all are parked the audit must be content, and nothing be left over at the end.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { auditMachine } from "../../src/checks/audit.ts";
import type { DomainControl } from "../../src/hypervisor/domain-control.ts";
import { Machine } from "../../src/hypervisor/machine.ts";
import { PRESETS, machineConfig } from "../../src/hypervisor/machine-config.ts";
import type { MachineConfig } from "../../src/hypervisor/machine-config.ts";
import { PARK_CELL } from "../../src/machine/parking.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { Doorbell, VcpuCell, VcpuState, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { ring, wake } from "../../src/memory/wait.ts";
import { FORMATS, GuestTables, KERNEL_PAGE, USER_PAGE, directBase } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import type { WildResult, WildTask } from "./wild-vcpu.ts";

const VCPUS = 3;
const PAGES = 48;
const TABLES_FROM = 4;
const DATA_FROM = 32;
const AUDITS = 7;
const SMALL_PAGES = [0n, 1n, 2n, 3n, 255n, 511n];

const clock = { now: (): number => performance.now() * 1e6 };

interface Run {
  readonly findings: readonly string[];
  readonly operations: number;
  readonly leaks: readonly string[];
  readonly crash: string;
}

/** Lets the vCPUs run until all have parked so many times, and says what was wrong. */
async function runWild(levels: GuestLevels, config: Partial<MachineConfig>): Promise<Run> {
  const machine = Machine.create(
    machineConfig({ vcpus: VCPUS, ramPages: PAGES, poolPages: 400, ...config }),
    clock,
  );
  const toolstack = machine.createToolstack(clock);
  const task = { handle: machine.handle, levels, ...furnish(machine, levels) };
  const workers = Array.from({ length: VCPUS }, (_, vcpu) => {
    const workerData: WildTask = { ...task, vcpu, seed: 1000 * levels + vcpu };
    return new Worker(new URL("wild-vcpu.ts", import.meta.url), { workerData });
  });
  const findings: string[] = [];
  try {
    await Promise.all(workers.map(async (worker) => once(worker, "message")));
    const ends = workers.map(async (worker) => once(worker, "message"));
    for (let audit = 0; audit < AUDITS && !machine.domain.isDead(); audit++) {
      disturb(toolstack, audit);
      findings.push(...auditParked(machine));
    }
    for (let id = 0; id < VCPUS; id++)
      ring(machine.memory, vcpuArea(machine.layout, vcpuId(id)), Doorbell.stop);
    const results = (await Promise.all(ends)).map(([result]) => result as WildResult);
    for (const { findings: own, holdsLock } of results) {
      findings.push(...own.map(({ check, message }) => `${check}: ${message}`));
      if (holdsLock) findings.push("a lock is still held");
    }
    findings.push(...toolstack.findings.map(({ message }) => message));
    const crash = machine.domain.crashMessage();
    const operations = results.reduce((sum, result) => sum + result.operations, 0);
    return { findings, operations, crash, leaks: toolstack.teardown() };
  } finally {
    await Promise.all(workers.map(async (worker) => worker.terminate()));
  }
}

/** Two trees of tables, and which entries and addresses the vCPUs shall meet at. */
function furnish(
  machine: Machine,
  levels: GuestLevels,
): Omit<WildTask, "handle" | "levels" | "vcpu" | "seed"> {
  let next = TABLES_FROM;
  const ram = machine.guestRam();
  const trees = [0, 1].map(() => new GuestTables(ram, levels, () => next++));
  const addresses = SMALL_PAGES.map((page) => page << 12n);
  const entries: number[] = [];
  for (const tree of trees) {
    tree.mapLarge(directBase(levels), 0, KERNEL_PAGE);
    tree.mapLarge(0x80_0000n, 0, USER_PAGE);
    for (const [index, address] of addresses.entries()) {
      tree.map(address, DATA_FROM + index, USER_PAGE);
      entries.push(tree.entryAt(address, 1));
    }
    tree.map(0x40_0000n, tree.tableAt(0n, 1), USER_PAGE);
    entries.push(tree.entryAt(0x40_0000n, 1), tree.entryAt(0x40_0000n, 2), tree.entryAt(0x80_0000n, 2));
  }
  addresses.push(0x40_0000n, 0x80_0000n, 0x80_5000n, 0x82_8000n, directBase(levels) + 0x2_4000n);
  return { roots: trees.map(({ cr3 }) => cr3), entries, addresses, pages: PAGES + 2 };
}

/** What a toolstack does meanwhile. Pages of tables are left alone: some may be roots. */
function disturb(toolstack: DomainControl, round: number): void {
  for (let step = 0; step < 20; step++) {
    const gfn = DATA_FROM + ((round * 7 + step) % (PAGES - DATA_FROM));
    if (step % 5 === 0) {
      toolstack.removePage(gfn);
      toolstack.addPage(gfn);
    } else if (step % 5 < 3) toolstack.movePage(gfn);
    else toolstack.deviceWrite(gfn * 4096 + step * 8, 0);
    if (step === 10) toolstack.setAllocation(round % 2 === 0 ? 0 : 400);
  }
}

/** Parks every vCPU, audits, and lets them go on. */
function auditParked(machine: Machine): string[] {
  const { memory, layout } = machine;
  const park = layout.regions.control.offset + PARK_CELL;
  memory.storeWord(park, 1);
  const areas = Array.from({ length: VCPUS }, (_, id) => vcpuArea(layout, vcpuId(id)));
  for (const area of areas) ring(memory, area, Doorbell.park);
  const end = performance.now() + 20_000;
  for (const area of areas) {
    for (let state = 0; state !== VcpuState.parked && state !== VcpuState.ended;) {
      state = memory.loadWord(area + VcpuCell.state);
      if (performance.now() > end) return ["a vCPU does not park"];
    }
  }
  const findings = auditMachine(machine).map(({ check, message }) => `${check}: ${message}`);
  memory.storeWord(park, 0);
  wake(memory, park);
  const until = performance.now() + 40;
  while (performance.now() < until);
  return findings;
}

describe.each(FORMATS)("guests of %i levels on threads of their own", (levels) => {
  test.each([
    { what: "as the talk has it", config: {} },
    {
      what: "before the talk, with ticket locks",
      config: { switches: PRESETS["talk-before"], lockKind: "ticket" },
    },
    { what: "with per-page locks", config: { granularity: "page" } },
    {
      what: "with per-page locks and all that goes with them",
      config: { granularity: "page", switches: { ...PRESETS.umbra, "out-of-sync": false } },
    },
    {
      what: "with caches for upper levels, small TLBs and pages that are used again at once",
      config: { structureCacheEntries: 16, tlbSets: 2, tlbWays: 2, reuse: "last-in-first-out" },
    },
  ] as const)("leave a machine in order, $what", async ({ config }) => {
    const { findings, operations, leaks, crash } = await runWild(levels, config);
    expect({ findings, leaks }).toEqual({ findings: [], leaks: [] });
    // A wild guest makes a root of any page, with PAE; if that page is then taken away, it has itself to blame.
    expect(crash).toMatch(levels === 3 ? /^$|root some vCPU runs on/ : /^$/);
    expect(operations).toBeGreaterThan(1000);
  });
});
