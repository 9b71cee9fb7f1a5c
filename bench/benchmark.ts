/** What a benchmark is, and the proof that it measures what it says: the machine's own counters. */
import type { CounterName } from "../src/memory/counters.ts";
import { COUNTERS, Counter } from "../src/memory/counters.ts";
import { LOCK_NAMES } from "../src/memory/layout.ts";
import { readLockStatistics } from "../src/locks/lock-statistics.ts";
import type { HostedVcpu } from "../src/hypervisor/machine.ts";

/** How often an operation counts in each counter. Those not named stay as they are, every one of them. */
export type Counts = Partial<Record<CounterName | "locks", number>>;

/** Something that can be measured, on a machine of its own. */
export interface Benchmark {
  readonly hosted: HostedVcpu;
  /** What each operation must count; `locks` is the number of locks taken. */
  readonly counts: Counts;
  /** Operations in a round. */
  readonly operations: number;
  /** Brings the machine back to the state that a round starts from. Not measured. */
  prepare(): void;
  /** A round. Answers a sum over the results of its operations, so that none can be left out. */
  run(): number;
  /** What `run` must answer. */
  readonly sum: number;
}

/** Runs a round and answers what was not as it should be, a sentence each. */
export function proveRound(benchmark: Benchmark): string[] {
  const { hosted, operations, counts } = benchmark;
  benchmark.prepare();
  const before = readCounts(hosted);
  const sum = benchmark.run();
  const after = readCounts(hosted);
  const wrong = Object.entries(after)
    .map(([name, value]) => ({ name, value: (value - (before[name] ?? 0)) / operations }))
    .filter(({ name, value }) => value !== expected(counts, name))
    .map(
      ({ name, value }) =>
        `each operation counts ${String(value)} in ${name}, not ${String(expected(counts, name))}`,
    );
  if (sum !== benchmark.sum) wrong.push(`the results sum up to ${String(sum)}, not ${String(benchmark.sum)}`);
  return [...wrong, ...hosted.vcpu.findings.map(({ message }) => message)];
}

function expected(counts: Counts, name: string): number {
  return Object.entries(counts).find(([each]) => each === name)?.[1] ?? 0;
}

function readCounts({ vcpu }: HostedVcpu): Record<string, number> {
  const counts: Record<string, number> = { locks: 0 };
  for (const name of Object.keys(COUNTERS) as CounterName[])
    counts[name] = vcpu.counters.value(Counter[name]);
  for (const index of LOCK_NAMES.keys())
    counts["locks"] =
      (counts["locks"] ?? 0) + readLockStatistics(vcpu.memory, vcpu.layout, index).acquisitions;
  return counts;
}
