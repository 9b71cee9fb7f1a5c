/**
 * Waits for locks as folded stacks, a line each: frames with semicolons between, and behind them the nanoseconds. Flame
 * graphs and speedscope read them.
 */
import { placeName, threadName } from "./lock-table.ts";
import type { LockPlaces, LockWaitRow } from "./stress-result.ts";

/** A machine's waits. */
export interface Waited {
  readonly waits: readonly LockWaitRow[];
  readonly places: LockPlaces;
  /** How many vCPUs it has. */
  readonly vcpus: number;
}

/** The stacks of a machine's waits, below frames of their own; every line ends with a newline. */
export function foldedStacks({ waits, places, vcpus }: Waited, below: readonly string[] = []): string {
  return waits
    .filter(({ nanos }) => nanos >= 1)
    .map(({ lock, vcpu, site, heldAt, nanos }) => {
      const frames = [
        ...below,
        `${lock} lock`,
        placeName(site, places),
        `while held at ${placeName(heldAt, places)}`,
        threadName(vcpu, vcpus),
      ];
      // A semicolon parts frames.
      return `${frames.map((frame) => frame.replaceAll(";", ",")).join(";")} ${String(Math.round(nanos))}\n`;
    })
    .join("");
}
