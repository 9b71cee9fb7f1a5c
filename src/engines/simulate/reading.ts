/** What the meters of a simulated machine show at one moment. */
import { COUNTER_NAMES } from "../../memory/counters.ts";
import type { SimulatedMachine } from "./simulated-machine.ts";
import { SCHEDULER } from "./virtual-scheduler.ts";

/** A reading; the difference of two is what happened between them. */
export class Reading {
  readonly counters: readonly number[];
  readonly operations: number;
  readonly rounds: number;
  readonly elapsed: number;
  readonly blocked: number;
  readonly spent: number;
  readonly woken: number;
  readonly lineCounts: readonly number[];
  readonly lineNanos: readonly number[];

  constructor(machine: SimulatedMachine) {
    this.counters = machine.counters();
    this.operations = sum(machine.operations);
    this.rounds = sum(machine.rounds);
    this.elapsed = SCHEDULER.elapsed();
    this.blocked = SCHEDULER.blockedNanos;
    this.spent = SCHEDULER.spentNanos;
    this.woken = SCHEDULER.awakening?.woken ?? 0;
    this.lineCounts = [...(SCHEDULER.lines?.counts ?? [])];
    this.lineNanos = [...(SCHEDULER.lines?.nanos ?? [])];
  }
}

/** The sum of numbers. */
export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Every counter by name, as the difference of the first two readings; none without them. */
export function countersBetween([before, after]: readonly Reading[]): Record<string, number> {
  if (before === undefined || after === undefined) return {};
  return Object.fromEntries(
    COUNTER_NAMES.map((name, counter) => [
      name,
      (after.counters[counter] ?? 0) - (before.counters[counter] ?? 0),
    ]),
  );
}
