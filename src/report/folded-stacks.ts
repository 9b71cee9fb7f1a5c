/**
 * Waits for locks as folded stacks, a line each: frames with semicolons between, and behind them the nanoseconds. Flame
 * graphs and speedscope read them.
 */
import { placeName } from "./lock-table.ts";
import type { LockPlaces, LockWaitRow } from "./stress-result.ts";

/** The stacks of some waits, below frames of their own; every line ends with a newline. */
export function foldedStacks(
  waits: readonly LockWaitRow[],
  places: LockPlaces,
  below: readonly string[] = [],
): string {
  return waits
    .filter(({ nanos }) => nanos >= 1)
    .map(({ lock, vcpu, site, heldAt, nanos }) => {
      const frames = [
        ...below,
        `${lock} lock`,
        placeName(site, places),
        `while held at ${placeName(heldAt, places)}`,
        `vCPU ${String(vcpu)}`,
      ];
      // A semicolon parts frames.
      return `${frames.map((frame) => frame.replaceAll(";", ",")).join(";")} ${String(Math.round(nanos))}\n`;
    })
    .join("");
}
