/**
 * What an access to shared memory costs, by where its cache line is (concurrency 3.14). A line has an owner, who wrote it
 * last, a version, which every write by somebody else than its only user renews, and the time until which a transfer
 * keeps it busy: whoever wants it meanwhile waits, so that a contended line costs more the more vCPUs want it.
 *
 * Each vCPU has a direct-mapped cache of tags: a line is in it if its version still is the one that was brought in. One
 * more, for all vCPUs together, tells what the last level holds.
 */
import { AccessKind } from "../coroutine/accessors.ts";
import type { CostModel } from "./cost-model.ts";

const READ = AccessKind.read;
const UPDATE = AccessKind.update;
const EXCHANGE = AccessKind.exchange;

/** Words of a cache line, as a shift: 64 bytes. */
export const LINE_SHIFT = 4;
const VERSION_BITS = 17;
const VERSION_MASK = (1 << VERSION_BITS) - 1;

/** What is known of a line. Its owner: 0 nobody has it, v + 1 vCPU v alone has it, -(v + 1) vCPU v and others have it. */
const OWNER = 0;
const VERSION = 1;
const FREE_AT = 2;
const STATE_SHIFT = 2;

const OWN = 0;
const INVALIDATION = 1;
const OTHER = 2;
const SHARED = 3;
const MEMORY = 4;
const QUEUE = 5;

/** Where an access finds its line, or that it has to wait for it, by the numbers above. */
export const SOURCE_NAMES = [
  "own cache",
  "invalidation",
  "another's cache",
  "shared level",
  "memory",
  "queue for a line",
] as const;

/** The caches of a machine in virtual time. */
export class CacheLines {
  /** Accesses by source; those that had to queue for their line count there too. */
  readonly counts: Float64Array = new Float64Array(SOURCE_NAMES.length);
  /** Time spent by source. */
  readonly nanos: Float64Array = new Float64Array(SOURCE_NAMES.length);
  /** Of each line its owner, version and the time at which it is free, side by side: `OWNER`, `VERSION`, `FREE_AT`. */
  readonly #lines: Int32Array;
  /** By place in a private cache, and there by vCPU: those who want the same line find its tags side by side. */
  readonly #tags: Int32Array;
  readonly #sharedTags: Int32Array;
  readonly #threads: number;
  readonly #privateShift: number;
  readonly #privateMask: number;
  readonly #sharedMask: number;
  readonly #own: number;
  readonly #atomic: number;
  readonly #invalidation: number;
  readonly #other: number;
  readonly #shared: number;
  readonly #memory: number;
  readonly #fill: number;
  readonly #occupancy: number;

  constructor(words: number, threads: number, { cache, nanos }: Pick<CostModel, "cache" | "nanos">) {
    const lines = (words >>> LINE_SHIFT) + 1;
    this.#lines = new Int32Array(lines << STATE_SHIFT);
    this.#threads = threads;
    this.#privateShift = Math.log2(cache.privateLines);
    this.#privateMask = cache.privateLines - 1;
    this.#sharedMask = cache.sharedLines - 1;
    this.#tags = new Int32Array(cache.privateLines * threads).fill(-1);
    this.#sharedTags = new Int32Array(cache.sharedLines).fill(-1);
    this.#own = nanos.hit;
    this.#atomic = nanos.atomic;
    this.#invalidation = nanos.invalidation;
    this.#other = nanos.transfer;
    this.#shared = nanos.sharedLevel;
    this.#memory = nanos.memory;
    this.#fill = nanos.fillLine;
    this.#occupancy = nanos.occupancy;
  }

  /** Cost of an access of a kind to a line by a vCPU at a time. */
  access(kind: number, line: number, thread: number, now: number): number {
    const state = line << STATE_SHIFT;
    const slot = (line & this.#privateMask) * this.#threads + thread;
    const owner = this.#lines[state + OWNER] ?? 0;
    const isIn = this.#tags[slot] === this.#tag(line);
    const atomic = kind === UPDATE || kind === EXCHANGE ? this.#atomic : 0;
    if (isIn && (kind === READ || owner === thread + 1)) {
      this.#note(OWN, this.#own + atomic);
      return this.#own + atomic;
    }
    const queue = Math.max(0, (this.#lines[state + FREE_AT] ?? 0) - now);
    this.#lines[state + FREE_AT] = now + queue + this.#occupancy;
    if (queue > 0) this.#note(QUEUE, queue);
    const isAlone = owner === 0 || owner === thread + 1;
    const cost = isIn ? this.#upgrade() : this.#bring(line, thread, owner);
    if (kind === READ) this.#lines[state + OWNER] = isAlone ? thread + 1 : -Math.abs(owner);
    else {
      if (!isAlone) this.#renew(state);
      this.#lines[state + OWNER] = thread + 1;
    }
    this.#tags[slot] = this.#tag(line);
    this.nanos[OWN] = (this.nanos[OWN] ?? 0) + atomic;
    return queue + cost + atomic;
  }

  /** Cost of filling a line that nobody else can reach. */
  fill(line: number, thread: number): number {
    const state = line << STATE_SHIFT;
    this.#renew(state);
    this.#lines[state + OWNER] = thread + 1;
    this.#tags[(line & this.#privateMask) * this.#threads + thread] = this.#tag(line);
    this.#note(OWN, this.#fill);
    return this.#fill;
  }

  /** Whoever has the line has it no more. */
  #renew(state: number): void {
    this.#lines[state + VERSION] = ((this.#lines[state + VERSION] ?? 0) + 1) & VERSION_MASK;
  }

  /** The line is here, and others may have it too. */
  #upgrade(): number {
    this.#note(INVALIDATION, this.#invalidation);
    return this.#invalidation;
  }

  /** The line comes from another vCPU's cache, from the level that all share, or from memory. */
  #bring(line: number, thread: number, owner: number): number {
    const holder = owner - 1;
    if (owner > 0 && holder !== thread) {
      const held = this.#tags[(line & this.#privateMask) * this.#threads + holder];
      if (held === this.#tag(line)) {
        this.#note(OTHER, this.#other);
        return this.#other;
      }
    }
    const place = line & this.#sharedMask;
    if (this.#sharedTags[place] === line) {
      this.#note(SHARED, this.#shared);
      return this.#shared;
    }
    this.#sharedTags[place] = line;
    this.#note(MEMORY, this.#memory);
    return this.#memory;
  }

  #tag(line: number): number {
    return (
      ((line >>> this.#privateShift) << VERSION_BITS) | (this.#lines[(line << STATE_SHIFT) + VERSION] ?? 0)
    );
  }

  #note(source: number, nanos: number): void {
    this.counts[source] = (this.counts[source] ?? 0) + 1;
    this.nanos[source] = (this.nanos[source] ?? 0) + nanos;
  }
}
