/** The clock of the stress engine: the machine's own. */
import type { Clock } from "../memory/clock.ts";

const NANOS_PER_MILLI = 1e6;

/** Nanoseconds since this thread started. Threads differ in that moment: only differences mean something. */
export class RealClock implements Clock {
  now(): number {
    return performance.now() * NANOS_PER_MILLI;
  }
}
