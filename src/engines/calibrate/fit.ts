/**
 * The costs that no loop can show alone: what a shared access costs with the code around it, a guest operation, and an exit
 * of each kind beyond its accesses. They are those by which the model comes nearest to what every workload takes on one vCPU.
 */
import { COUNTER_NAMES } from "../../memory/counters.ts";
import type { CounterName } from "../../memory/counters.ts";
import { COST_NAMES } from "../simulate/cost-model.ts";
import type { CostName } from "../simulate/cost-model.ts";
import type { Counts } from "./counts.ts";
import { nonNegative } from "./least-squares.ts";

/**
 * Counters whose costs are fitted: each stands for code that runs as often as it counts. Those that nearly always count
 * together are not all here: what they share has one cost, or workloads that were not measured would come out anyhow.
 */
export const FITTED_COUNTERS = [
  "exits",
  "fault",
  "emulated_stores",
  "emulated_instructions",
  "instructions",
  "shadow_walks",
  "injected",
  "mmio",
  "update_cr3",
] as const satisfies readonly CounterName[];

/** Lines that cost a `hit`, and so much more as was measured. */
const LINES = [
  "hit",
  "invalidation",
  "transfer",
  "sharedLevel",
  "memory",
] as const satisfies readonly CostName[];

/** What is known before: of lines, what they take longer than one of one's own. */
export interface KnownCosts {
  readonly nanos: Readonly<Partial<Record<CostName, number>>>;
  readonly counters: Readonly<Partial<Record<CounterName, number>>>;
}

/** A workload's counts, and the nanoseconds of one of its operations. */
export interface MeasuredWorkload {
  readonly counts: Counts;
  readonly nanos: number;
}

/** Costs in nanoseconds, of which `hit` is whole. */
export interface FittedCosts {
  readonly hit: number;
  readonly operation: number;
  readonly counters: Readonly<Partial<Record<CounterName, number>>>;
}

/** Fits. Errors count by their part of what a workload takes, so that short operations weigh as much as long ones. */
export function fitCosts(workloads: readonly MeasuredWorkload[], known: KnownCosts): FittedCosts {
  const free = solve(workloads, known, null);
  // The model's costs are whole numbers, and of the smallest a half is much: the others are fitted again to either.
  const near = [Math.max(1, Math.floor(free.hit)), Math.max(1, Math.ceil(free.hit))];
  const [low, high] = near.map((hit) => solve(workloads, known, hit));
  if (low === undefined || high === undefined) return free;
  return misfit(workloads, known, low) <= misfit(workloads, known, high) ? low : high;
}

/** What an operation of a workload takes by a model. */
export function predicted(counts: Counts, known: KnownCosts, fitted: FittedCosts): number {
  const { operation, hit, counters } = fitted;
  return (
    operation + hit * linesOf(counts.costs) + paid(counts.counters, counters) + knownNanos(counts, known)
  );
}

function solve(workloads: readonly MeasuredWorkload[], known: KnownCosts, hit: number | null): FittedCosts {
  const rows = workloads.map(({ counts, nanos }) => [
    1 / nanos,
    ...FITTED_COUNTERS.map((name) => (counts.counters[name] ?? 0) / nanos),
    ...(hit === null ? [linesOf(counts.costs) / nanos] : []),
  ]);
  const wanted = workloads.map(
    ({ counts, nanos }) => (nanos - knownNanos(counts, known) - (hit ?? 0) * linesOf(counts.costs)) / nanos,
  );
  const [operation = 0, ...others] = nonNegative(rows, wanted);
  const counters: Partial<Record<CounterName, number>> = {};
  for (const [index, name] of FITTED_COUNTERS.entries()) counters[name] = others[index] ?? 0;
  return { hit: hit ?? others[FITTED_COUNTERS.length] ?? 0, operation, counters };
}

function misfit(workloads: readonly MeasuredWorkload[], known: KnownCosts, fitted: FittedCosts): number {
  return workloads.reduce(
    (sum, { counts, nanos }) => sum + (predicted(counts, known, fitted) / nanos - 1) ** 2,
    0,
  );
}

/** Accesses that cost a `hit` at least. */
function linesOf(costs: Counts["costs"]): number {
  return LINES.reduce((sum, name) => sum + (costs[name] ?? 0), 0);
}

function knownNanos({ costs, counters }: Counts, known: KnownCosts): number {
  const ofCosts = COST_NAMES.reduce((sum, name) => sum + (known.nanos[name] ?? 0) * (costs[name] ?? 0), 0);
  return ofCosts + paid(counters, known.counters);
}

function paid(counters: Counts["counters"], nanos: FittedCosts["counters"]): number {
  return COUNTER_NAMES.reduce((sum, name) => sum + (nanos[name] ?? 0) * (counters[name] ?? 0), 0);
}
