/** The cost model of what was measured: every number with where it is from, in the form of a file (docs/cost-models.md). */
import type { CalibrateResult, CalibratedCost, FittedWorkload, MeasuredTime } from "../../report/types.ts";
import { checkedModel, NANOS_MAX } from "../simulate/cost-model.ts";
import { fitCosts, FITTED_COUNTERS, predicted } from "./fit.ts";
import type { KnownCosts, MeasuredWorkload } from "./fit.ts";
import { hostCaches } from "./host.ts";
import type { CacheLinesRead } from "./host.ts";

/** A number of a file. */
interface Sourced {
  readonly value: number;
  readonly source: string;
}

/** A cost model as it stands in a file. */
export interface ModelFile {
  readonly name: string;
  readonly about: string;
  readonly cache: { readonly privateLines: CacheLinesRead; readonly sharedLines: CacheLinesRead };
  readonly nanos: Readonly<Record<string, Sourced>>;
  readonly counters: Readonly<Record<string, Sourced>>;
}

/** What was measured. */
export interface Measured {
  readonly host: CalibrateResult["host"];
  readonly at: string;
  readonly primitives: readonly MeasuredTime[];
  /** Each without `fitted`, with its counts. */
  readonly workloads: readonly (Omit<FittedWorkload, "fitted"> & Pick<MeasuredWorkload, "counts">)[];
}

/** Looks after which a waiter falls asleep (memory/wait.ts). */
const LOOKS = 200;
/** What lines at a distance are compared with. */
const NEAR = "near line";

/** Makes the model. */
export function calibratedModel({ host, at, primitives, workloads }: Measured): {
  readonly file: ModelFile;
  readonly workloads: FittedWorkload[];
} {
  const where = `measured on ${host.processor}, ${at.slice(0, 10)}, by umbra calibrate`;
  const times = new Times(primitives, where);
  const known = knownCosts(times);
  const fitted = fitCosts(workloads, known);
  const rows = workloads.map(({ name, command, nanos, rounds, spread, counts }): FittedWorkload => {
    return { name, command, nanos, rounds, spread, fitted: predicted(counts, known, fitted) };
  });
  const fit = `fitted to ${String(rows.length)} workloads on one vCPU, ${fitText(rows)}`;
  return {
    workloads: rows,
    file: {
      name: "calibrated",
      about: `The model's own code on threads of ${host.processor}, ${String(host.cores)} cores, Node ${host.node}, ${at}.`,
      cache: hostCaches(),
      nanos: {
        hit: times.sourced(fitted.hit, `an access with the code around it, ${fit}`),
        operation: times.sourced(fitted.operation, fit),
        ...measuredNanos(times, fitted.hit),
      },
      counters: {
        ...Object.fromEntries(
          FITTED_COUNTERS.map((name) => [name, times.sourced(fitted.counters[name] ?? 0, fit)]),
        ),
        ...flushCounters(times, fitted.hit),
      },
    },
  };
}

/** Times by their names, and numbers that come of them. */
class Times {
  readonly #times: ReadonlyMap<string, MeasuredTime>;
  readonly #where: string;

  constructor(times: readonly MeasuredTime[], where: string) {
    this.#times = new Map(times.map((time) => [time.name, time]));
    this.#where = where;
  }

  /** Nanoseconds of a time that was measured. */
  nanos(name: string): number {
    return this.#time(name).nanos;
  }

  /** What a time takes longer than another. */
  longer(name: string, than: string): number {
    return Math.max(0, this.nanos(name) - this.nanos(than));
  }

  /** A number, with where it is from: what it is, and the times that it was made of. */
  sourced(nanos: number, about: string, ...names: readonly string[]): Sourced {
    const made = names.map((name) => `; ${seriesText(this.#time(name))}`).join("");
    const value = Math.min(NANOS_MAX, Math.max(0, Math.round(nanos)));
    return { value, source: `${this.#where}: ${about}${made}` };
  }

  /** The number is the time itself. */
  direct(name: string): Sourced {
    return this.sourced(this.nanos(name), this.#time(name).about, name);
  }

  #time(name: string): MeasuredTime {
    const found = this.#times.get(name);
    if (found === undefined) throw new Error(`nobody measured: ${name}`);
    return found;
  }
}

function measuredNanos(times: Times, hit: number): Record<string, Sourced> {
  const line = (name: string): Sourced =>
    times.sourced(
      hit + times.longer(name, NEAR),
      "a hit, and what it takes longer than a near line",
      name,
      NEAR,
    );
  return {
    atomic: times.sourced(times.longer("update", "load"), "an update less a load", "update", "load"),
    invalidation: line("invalidation"),
    transfer: line("transfer"),
    sharedLevel: line("shared level"),
    memory: line("memory"),
    fillLine: times.direct("filled line"),
    occupancy: times.direct("contended update"),
    pause: times.sourced(times.nanos("look") / 2, "half of a look", "look"),
    wake: times.direct("waking"),
    wakeup: times.direct("wake-up"),
    spinLimit: times.sourced(LOOKS * times.nanos("look"), `${String(LOOKS)} looks`, "look"),
  };
}

/** What is known before the rest is fitted: lines by what they take longer than one's own. */
function knownCosts(times: Times): KnownCosts {
  return {
    nanos: {
      atomic: Math.round(times.longer("update", "load")),
      fillLine: times.nanos("filled line"),
      invalidation: times.longer("invalidation", NEAR),
      transfer: times.longer("transfer", NEAR),
      sharedLevel: times.longer("shared level", NEAR),
      memory: times.longer("memory", NEAR),
    },
    counters: { local_flushes: localFlush(times) },
  };
}

/** A flush of one's own, less its two accesses. */
function localFlush(times: Times): number {
  return Math.max(0, times.nanos("local flush") - times.nanos("load") - times.nanos("update"));
}

/** What flushes cost beyond their accesses. */
function flushCounters(times: Times, hit: number): Record<string, Sourced> {
  const local = times.nanos("local flush");
  const served = times.nanos("served flush") - local;
  return {
    local_flushes: times.sourced(localFlush(times), "less its two accesses", "local flush"),
    flushes_served: times.sourced(
      served - 5 * times.nanos("load") - 2 * times.nanos("update"),
      "less the flush itself and its seven accesses",
      "served flush",
      "local flush",
    ),
    flush_requests: times.sourced(
      times.nanos("flush trip") - 2 * local - 5 * times.nanos("transfer") - 4 * hit,
      "less two flushes of one's own and five lines that travel",
      "flush trip",
      "local flush",
      "transfer",
    ),
  };
}

function seriesText({ name, nanos, rounds, spread }: MeasuredTime): string {
  const time = nanos < 10 ? nanos.toFixed(2) : nanos.toFixed(0);
  return `${name} ${time} ns, median of ${String(rounds)} rounds, spread ${percent(spread)}`;
}

function fitText(rows: readonly FittedWorkload[]): string {
  const errors = rows.map(({ nanos, fitted }) => Math.abs(fitted / nanos - 1)).toSorted((a, b) => a - b);
  const rounds = rows.reduce((sum, row) => sum + row.rounds, 0);
  const spreads = rows.map(({ spread }) => spread).toSorted((a, b) => a - b);
  return (
    `medians of ${String(rounds)} rounds in all, spread ${percent(spreads[spreads.length >> 1] ?? 0)} in the median, ` +
    `off by ${percent(errors[errors.length >> 1] ?? 0)} in the median and ${percent(errors.at(-1) ?? 0)} at most`
  );
}

function percent(part: number): string {
  return `${(100 * part).toFixed(0)} %`;
}

/** Every number of a file, as the result lists it. Throws when the file is none that can be read. */
export function costsOf(file: ModelFile): CalibratedCost[] {
  checkedModel(file, "the calibrated model");
  return [
    ...rowsOf("nanos", file.nanos),
    ...rowsOf("counters", file.counters),
    ...rowsOf("cache", file.cache),
  ];
}

function rowsOf(path: string, numbers: object): CalibratedCost[] {
  return Object.entries(numbers).map(([name, { value, source }]: [string, Sourced]) => ({
    path: `${path}.${name}`,
    value,
    source,
  }));
}
