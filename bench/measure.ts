/** Measures a benchmark against `Atomics.load`, which every figure is a multiple of. */
import { proveRound } from "./benchmark.ts";
import type { Benchmark } from "./benchmark.ts";

/** Nanoseconds of one operation and of one `Atomics.load`, each of the fastest round. */
export interface Measurement {
  readonly nanos: number;
  readonly baseNanos: number;
}

const NANOS_PER_MILLI = 1e6;
const WARM_UP_ROUNDS = 1000;
/** Many short rounds rather than few long ones: on a machine that does other work, some short ones are undisturbed. */
const ROUNDS = 600;
const BASE_LOADS = 32_768;

/** Measures. Rounds of the base and of the benchmark take turns. Throws if the benchmark does not do what it says. */
export function measure(benchmark: Benchmark): Measurement {
  const { view } = benchmark.hosted.vcpu.memory;
  prove(benchmark);
  let fastest = Infinity;
  let fastestBase = Infinity;
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    const baseStart = performance.now();
    const baseSum = loadAll(view, BASE_LOADS);
    const baseMillis = performance.now() - baseStart;

    benchmark.prepare();
    const start = performance.now();
    const sum = benchmark.run();
    const millis = performance.now() - start;

    if (sum !== benchmark.sum || !Number.isInteger(baseSum)) throw new Error("a round has a wrong result");
    if (round < 0) continue;
    fastest = Math.min(fastest, millis);
    fastestBase = Math.min(fastestBase, baseMillis);
  }
  prove(benchmark);
  return {
    nanos: (fastest * NANOS_PER_MILLI) / benchmark.operations,
    baseNanos: (fastestBase * NANOS_PER_MILLI) / BASE_LOADS,
  };
}

/** The base: one atomic load after the other, of one page of the machine's memory. */
function loadAll(words: Int32Array, loads: number): number {
  let sum = 0;
  for (let index = 0; index < loads; index++) sum = (sum + Atomics.load(words, index & 1023)) | 0;
  return sum;
}

function prove(benchmark: Benchmark): void {
  const wrong = proveRound(benchmark);
  if (wrong.length > 0) throw new Error(`the benchmark does not measure what it says: ${wrong.join("; ")}`);
}
