/** Times that are measured in many short rounds: of those, some are undisturbed, whatever else the host does. */
import type { MeasuredTime } from "../../report/types.ts";

const NANOS_PER_MILLI = 1e6;
/** Part of the time that goes into rounds that do not count: the compiler has its say there. */
const WARM_UP = 0.25;
const ROUNDS_MIN = 16;

/** What a series of rounds came to. */
export type Series = Pick<MeasuredTime, "nanos" | "rounds" | "spread">;

/** The median of times, and how far their middle half reaches. There must be one at least. */
export function seriesOf(times: readonly number[]): Series {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.floor(part * (sorted.length - 1))] ?? 0;
  const nanos = at(0.5);
  return { nanos, rounds: sorted.length, spread: nanos === 0 ? 0 : (at(0.75) - at(0.25)) / nanos };
}

/** Repeats a round of so many operations for so long; what one of them takes. */
export function measureRounds(milliseconds: number, operations: number, round: () => void): Series {
  return measureTimes(milliseconds, () => {
    const start = performance.now();
    round();
    return ((performance.now() - start) * NANOS_PER_MILLI) / operations;
  });
}

/** Repeats a round that tells its own time, in nanoseconds, for so long. */
export function measureTimes(milliseconds: number, round: () => number): Series {
  const began = performance.now();
  const times: number[] = [];
  for (;;) {
    const nanos = round();
    const elapsed = performance.now() - began;
    if (elapsed < milliseconds * WARM_UP) continue;
    times.push(nanos);
    if (elapsed >= milliseconds && times.length >= ROUNDS_MIN) return seriesOf(times);
  }
}
