/** What a simulation measured, put into the form of its result. */
import { isUsed, lockClassOf } from "../../locks/lock-class.ts";
import { percentileOfBuckets } from "../../locks/lock-statistics.ts";
import type { MachineConfig } from "../../hypervisor/machine-config.ts";
import { COUNTER_NAMES, Counter } from "../../memory/counters.ts";
import { LOCK_NAMES } from "../../memory/layout.ts";
import type { LawRow, LockRow, SimulatedPoint, SpentRow, Violation } from "../../report/types.ts";
import { waitRows, withWaits } from "../lock-waits.ts";
import { SOURCE_NAMES } from "./cache-lines.ts";
import { checkLaws } from "./laws.ts";
import type { LockAccount } from "./lock-watch.ts";
import type { PointTask } from "./point-task.ts";
import { sum } from "./reading.ts";
import type { Reading } from "./reading.ts";
import type { Simulation } from "./run-point.ts";
import type { SimulatedMachine } from "./simulated-machine.ts";
import { SCHEDULER } from "./virtual-scheduler.ts";
import type { VirtualEnding } from "./virtual-time.ts";

/** What the points of a curve have in common, in words: the kind of lock, and that of its granularity which Xen does not have. */
export function designName({
  lockKind,
  granularity,
}: Pick<MachineConfig, "lockKind" | "granularity">): string {
  return granularity === "page" ? `${lockKind}, per page` : lockKind;
}

const PERCENT = 99;
const WHOLE = LOCK_NAMES.indexOf("paging");
/** The shadow lock, held either way. */
const SHADOW_LOCKS: readonly number[] = [WHOLE, LOCK_NAMES.indexOf("paging in part")];
const NANOS = 1e9;

/** A point of what was simulated. */
export function pointOf(
  task: PointTask,
  machine: SimulatedMachine,
  { ending, readings, window }: Simulation,
): SimulatedPoint {
  const [before, after] = readings;
  const { vcpus, lockKind, granularity } = task.config;
  const nanos = window.to - window.from;
  const violations = violationsOf(machine, ending);
  const base = {
    vcpus,
    granularity,
    lock: lockKind,
    design: designName(task.config),
    ending,
    violations,
    events: SCHEDULER.events,
    switches: SCHEDULER.switches,
  } as const;
  if (before === undefined || after === undefined || nanos <= 0) return { ...base, ...nothing(ending) };
  const operations = after.operations - before.operations;
  const rounds = after.rounds - before.rounds;
  const all = nanos * vcpus;
  const accounts = SCHEDULER.locks?.accounts ?? [];
  const waits = (SCHEDULER.locks?.waits ?? []).flatMap((each, vcpu) => waitRows(vcpu, each.list()));
  const count = (counter: number): number => (after.counters[counter] ?? 0) - (before.counters[counter] ?? 0);
  return {
    ...base,
    reason: null,
    seconds: nanos / NANOS,
    operations,
    throughput: (operations * NANOS) / nanos,
    rounds,
    roundsPerSecond: (rounds * NANOS) / nanos,
    waitingShare: sum(accounts.map(({ wanted }) => wanted)) / all,
    shadowLockWaiting: sum(SHADOW_LOCKS.map((lock) => accounts[lock]?.wanted ?? 0)) / all,
    utilisation: (accounts[WHOLE]?.busy ?? 0) / nanos,
    faults: count(Counter.demand_faults),
    exits: count(Counter.exits),
    locks: accounts
      .map((account, index) => withWaits(lockRow(account, index, { nanos, all }), waits))
      .filter((_, index) => isUsed(index, granularity)),
    waits,
    spent: spentRows(task, before, after),
    laws: lawsOf(accounts, before, after),
  };
}

const NOTHING: Readonly<Record<VirtualEnding, string>> = {
  time: "not every program had begun its first round after 2 s of virtual time",
  done: "the programs ended before all of them had begun a round",
  deadlock: "nobody could go on before all programs had begun a round",
};

function nothing(
  ending: VirtualEnding,
): Omit<
  SimulatedPoint,
  "vcpus" | "granularity" | "lock" | "design" | "ending" | "violations" | "events" | "switches"
> {
  return {
    reason: NOTHING[ending],
    seconds: 0,
    operations: 0,
    throughput: 0,
    rounds: 0,
    roundsPerSecond: 0,
    waitingShare: 0,
    shadowLockWaiting: 0,
    utilisation: 0,
    faults: 0,
    exits: 0,
    locks: [],
    waits: [],
    spent: [],
    laws: [],
  };
}

function lawsOf(accounts: readonly LockAccount[], before: Reading, after: Reading): LawRow[] {
  return checkLaws(accounts, {
    elapsed: after.elapsed - before.elapsed,
    accounted:
      sum(after.lineNanos) -
      sum(before.lineNanos) +
      (after.spent - before.spent) +
      (after.blocked - before.blocked),
    backwards: SCHEDULER.backwards,
  });
}

function lockRow(
  account: LockAccount,
  index: number,
  { nanos, all }: { readonly nanos: number; readonly all: number },
): LockRow {
  const { waits, holds } = account;
  return {
    name: lockClassOf(index).name,
    conBounces: account.conBounces,
    contentions: account.contentions,
    waittimeMin: waits.min,
    waittimeMax: waits.max,
    waittimeTotal: waits.total,
    waittimeAvg: waits.count === 0 ? 0 : waits.total / waits.count,
    waittimeP99: percentileOfBuckets(waits.buckets, PERCENT),
    acqBounces: account.ownerChanges,
    acquisitions: account.acquisitions,
    holdSamples: holds.count,
    holdtimeMin: holds.min,
    holdtimeMax: holds.max,
    holdtimeTotal: holds.total,
    holdtimeAvg: holds.count === 0 ? 0 : holds.total / holds.count,
    ownerChanges: account.ownerChanges,
    utilisation: account.busy / nanos,
    waitingShare: account.wanted / all,
    topWaitingSite: null,
    topHoldingSite: null,
  };
}

/** Where the vCPUs' time went: accesses by where their line was, what was counted, and waiting. */
function spentRows({ model }: PointTask, before: Reading, after: Reading): SpentRow[] {
  const all = after.elapsed - before.elapsed;
  const row = (name: string, count: number, nanos: number): SpentRow => ({
    name,
    count,
    nanos,
    share: all === 0 ? 0 : nanos / all,
  });
  const lines = SOURCE_NAMES.map((name, source) =>
    row(
      name,
      (after.lineCounts[source] ?? 0) - (before.lineCounts[source] ?? 0),
      (after.lineNanos[source] ?? 0) - (before.lineNanos[source] ?? 0),
    ),
  );
  const counters = COUNTER_NAMES.flatMap((name, counter) => {
    const each = model.counters[name] ?? 0;
    const count = (after.counters[counter] ?? 0) - (before.counters[counter] ?? 0);
    return each * count === 0 ? [] : [row(name, count, each * count)];
  });
  const operations = row(
    "guest operation",
    after.operations - before.operations,
    (after.operations - before.operations) * model.nanos.operation,
  );
  const woken = after.woken - before.woken;
  const waking = row("waking", woken, woken * model.nanos.wake);
  const charged = operations.nanos + waking.nanos + sum(counters.map(({ nanos }) => nanos));
  return [
    ...lines,
    operations,
    waking,
    ...counters,
    // Nothing else spends time: of a scenario without a toolstack there is no such row, or the sums are wrong.
    row(TOOLSTACK, 0, after.spent - before.spent - charged),
    row("blocked", 0, after.blocked - before.blocked),
  ].filter(({ nanos }) => nanos !== 0);
}

const TOOLSTACK = "the toolstack's pauses";

function violationsOf(machine: SimulatedMachine, ending: string): Violation[] {
  const found = machine.findings().map(({ check, vcpu, message }) => ({ check, vcpu, message }));
  const stuck = SCHEDULER.blocked();
  if (ending !== "deadlock" || stuck.every(({ isHalted }) => isHalted)) return found;
  const waiting = stuck.map(
    ({ thread, cell }) => `${machine.threadName(thread)} on ${machine.cellName(cell)}`,
  );
  return [...found, { check: "deadlock", vcpu: -1, message: `Nobody can go on: ${waiting.join(", ")}.` }];
}
