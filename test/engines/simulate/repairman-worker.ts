/** Runs in a worker: the machine-repairman model in virtual time, with costs of nothing but thinking and service. */
import { parentPort, workerData } from "node:worker_threads";
import { isCoroutine } from "../../../src/engines/coroutine/call-stacks.ts";
import { registerCoroutines } from "../../../src/engines/coroutine/hook.ts";
import { COST_NAMES } from "../../../src/engines/simulate/cost-model.ts";
import type { CostModel } from "../../../src/engines/simulate/cost-model.ts";
import { checkLaws } from "../../../src/engines/simulate/laws.ts";
import { SCHEDULER } from "../../../src/engines/simulate/virtual-scheduler.ts";
import type { LockKind } from "../../../src/locks/gate.ts";
import { LOCK_NAMES } from "../../../src/memory/layout.ts";
import { SharedMemory } from "../../../src/memory/shared-memory.ts";
import type { LawRow } from "../../../src/report/types.ts";
import { smallLayout } from "../../locks/test-vcpu.ts";
import type * as Repairman from "./repairman.ts";

/** What to simulate. */
export interface RepairmanOrder {
  readonly customers: number;
  readonly kind: LockKind;
  readonly thinkNanos: number;
  readonly serviceNanos: number;
  readonly nanos: number;
  readonly seed: number;
  /** A fault planted in the scheduler. */
  readonly fault: "none" | "hand-off loses time" | "hand-off is not counted";
}

/** What came of it. */
export interface RepairmanAnswer {
  /** Visits a nanosecond. */
  readonly throughput: number;
  readonly utilisation: number;
  /** Of the customers' time, the part that they waited. */
  readonly waitingShare: number;
  /** Mean time from wanting the lock to giving it up. */
  readonly response: number;
  readonly laws: readonly LawRow[];
}

const order = workerData as RepairmanOrder;
const costs: CostModel = {
  name: "none",
  cache: { privateLines: 16, sharedLines: 16 },
  nanos: Object.fromEntries(COST_NAMES.map((name) => [name, 0])) as CostModel["nanos"],
  counters: {},
};

let state = order.seed;
/** Between 0 and 1, neither included (SplitMix32). */
function uniform(): number {
  state = (state + 0x9e3779b9) | 0;
  let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32 + 2 ** -33;
}
const exponential = (mean: number): number => Math.round(-Math.log(uniform()) * mean);

const url = new URL("repairman.ts", import.meta.url).href;
const schedulerUrl = new URL("../../../src/engines/simulate/virtual-scheduler.ts", import.meta.url).href;
const { address } = registerCoroutines([url], { schedulerUrl });
const { customer } = (await import(address(url))) as typeof Repairman;

const layout = smallLayout(order.customers);
const { handle, view } = SharedMemory.create(layout.words);
SCHEDULER.prepare({ view, threads: order.customers, layout, seed: order.seed }, costs);
const { awakening } = SCHEDULER;
if (awakening === null) throw new Error("the simulation was not prepared");
if (order.fault === "hand-off loses time") awakening.wokenAt = (since) => since;
if (order.fault === "hand-off is not counted") {
  const wokenAt = awakening.wokenAt.bind(awakening);
  awakening.wokenAt = (since, at, isAsleep) => {
    SCHEDULER.blockedNanos -= 100;
    return wokenAt(since, at, isAsleep) + 100;
  };
}
let visits = 0;
for (let id = 0; id < order.customers; id++) {
  const body: unknown = customer(id, {
    handle,
    layout,
    kind: order.kind,
    clock: { now: () => SCHEDULER.now },
    think: () => {
      SCHEDULER.spend(exponential(order.thinkNanos));
    },
    serve: () => {
      SCHEDULER.spend(exponential(order.serviceNanos));
    },
    leave: () => {
      visits++;
    },
  });
  if (isCoroutine(body)) SCHEDULER.add(body);
}
SCHEDULER.observer = { reached: (time) => (time >= order.nanos ? -1 : order.nanos) };
SCHEDULER.run();
const { locks, clock, lines } = SCHEDULER;
locks?.endWindow(clock);
const account = locks?.accounts[LOCK_NAMES.indexOf("paging")];
const spent = SCHEDULER.spentNanos + SCHEDULER.blockedNanos + (lines?.nanos.reduce((a, b) => a + b, 0) ?? 0);
const answer: RepairmanAnswer = {
  throughput: visits / clock,
  utilisation: (account?.busy ?? 0) / clock,
  waitingShare: (account?.wanted ?? 0) / (clock * order.customers),
  response: ((account?.wanted ?? 0) + (account?.held ?? 0)) / visits,
  laws: checkLaws(locks?.accounts ?? [], {
    elapsed: SCHEDULER.elapsed(),
    accounted: spent,
    backwards: SCHEDULER.backwards,
  }),
};
parentPort?.postMessage(answer);
