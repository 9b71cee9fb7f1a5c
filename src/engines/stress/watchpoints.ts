/**
 * Soft watchpoints in the manner of KCSAN: now and then a vCPU, in the middle of a plain access, says which cell it is
 * at, waits a little, and looks whether anybody else came there meanwhile or the value changed. Real threads then show
 * races that really happened; those that did not happen are for the explorer.
 */
import { Guards } from "../../checks/guards.ts";
import { cellName } from "../../checks/cell-names.ts";
import type { Layout } from "../../memory/layout.ts";
import { SharedMemory } from "../../memory/shared-memory.ts";
import type { SharedMemoryHandle } from "../../memory/shared-memory.ts";

/** How often cells are watched: not at all, seldom, or often and long. */
export type WatchMode = "off" | "light" | "heavy";

/** All modes, the default first. */
export const WATCH_MODES: readonly WatchMode[] = ["off", "light", "heavy"];

/** One plain access in so many is watched, for so many turns of a loop. */
const MODES = {
  light: { oneIn: 4000, turns: 400 },
  heavy: { oneIn: 200, turns: 2000 },
} as const satisfies Readonly<Record<Exclude<WatchMode, "off">, object>>;

const SLOTS = 256;
/** Words of a slot: cell + 1 (0 free), twice the vCPU plus 1 for a write, 1 + the vCPU that came by. */
const SLOT_WORDS = 4;
const SET_WORD = SLOTS * SLOT_WORDS;
const FIRST_FRAME =
  /\n\s+at (?:(?<name>[^\s(]+) \()?(?:file:\/\/)?\/(?:[^\s)]*\/)?(?<place>[^/\s)]+\.[tj]s:\d+):\d+\)?/g;

/** What the threads of a run share to watch each other. Plain data. */
export interface WatchTable {
  readonly mode: Exclude<WatchMode, "off">;
  readonly words: Int32Array;
}

/** A table for one run. */
export function createWatchTable(mode: Exclude<WatchMode, "off">): WatchTable {
  const bytes = (SET_WORD + 1) * Int32Array.BYTES_PER_ELEMENT;
  return { mode, words: new Int32Array(new SharedArrayBuffer(bytes)) };
}

/** Watchpoints that have been set so far, by everybody. */
export function watchpointsSet({ words }: WatchTable): number {
  return Atomics.load(words, SET_WORD);
}

/** Told what was seen, in one sentence; once for each place in the code. */
export type TellRace = (message: string) => void;

/** A vCPU's view of the memory with watchpoints on the cells that a lock guards. */
export class WatchedMemory extends SharedMemory {
  /** Set by whoever runs the vCPU. */
  tell: TellRace = () => undefined;
  readonly #table: Int32Array;
  readonly #layout: Layout;
  readonly #guards: Guards;
  readonly #me: number;
  readonly #oneIn: number;
  readonly #turns: number;
  readonly #told = new Set<string>();
  #untilNext: number;

  constructor(handle: SharedMemoryHandle, layout: Layout, { mode, words }: WatchTable, vcpu: number) {
    super(handle);
    this.#table = words;
    this.#layout = layout;
    this.#guards = new Guards(layout);
    this.#me = vcpu;
    const { oneIn, turns } = MODES[mode];
    this.#oneIn = oneIn;
    this.#turns = turns;
    // Not all at the same time.
    this.#untilNext = 1 + ((vcpu * 97) % oneIn);
  }

  override loadGuarded(cell: number): number {
    this.#comeBy(cell, false);
    return super.loadGuarded(cell);
  }

  override storeGuarded(cell: number, value: number): void {
    this.#comeBy(cell, true);
    super.storeGuarded(cell, value);
  }

  #comeBy(cell: number, isWrite: boolean): void {
    const slot = (cell & (SLOTS - 1)) * SLOT_WORDS;
    if (this.#table[slot] === cell + 1) this.#meet(slot, cell, isWrite);
    this.#untilNext--;
    if (this.#untilNext === 0) this.#watch(slot, cell, isWrite);
  }

  /** Somebody is in the middle of an access to the same cell. */
  #meet(slot: number, cell: number, isWrite: boolean): void {
    const other = Atomics.load(this.#table, slot + 1);
    if (other >> 1 === this.#me || (!isWrite && (other & 1) === 0)) return;
    if (this.#guards.isOpen(cell, isWrite)) return;
    if (Atomics.compareExchange(this.#table, slot + 2, 0, this.#me + 1) !== 0) return;
    this.#report(cell, isWrite, `while vCPU ${String(other >> 1)} is in the middle of an access to it`);
  }

  #watch(slot: number, cell: number, isWrite: boolean): void {
    this.#untilNext = this.#oneIn;
    if (this.#guards.isOpen(cell, isWrite)) return;
    const table = this.#table;
    if (Atomics.compareExchange(table, slot, 0, SETTING_UP) !== 0) return;
    Atomics.store(table, slot + 1, (this.#me << 1) | (isWrite ? 1 : 0));
    Atomics.store(table, slot + 2, 0);
    const before = this.loadWord(cell);
    Atomics.store(table, slot, cell + 1);
    Atomics.add(table, SET_WORD, 1);
    for (let turn = 0; turn < this.#turns; turn++) Atomics.pause();
    const after = this.loadWord(cell);
    const visitor = Atomics.load(table, slot + 2);
    Atomics.store(table, slot, 0);
    if (visitor !== 0) this.#report(cell, isWrite, `while vCPU ${String(visitor - 1)} accesses it`);
    else if (before !== after) {
      const change = `0x${(before >>> 0).toString(16)} to 0x${(after >>> 0).toString(16)}`;
      this.#report(cell, isWrite, `while somebody changes it from ${change}`);
    }
  }

  #report(cell: number, isWrite: boolean, when: string): void {
    const { stack = "" } = new Error("for its stack");
    const frames = [...stack.matchAll(FIRST_FRAME)].map(({ groups }) => groups ?? {});
    const { name = "a program", place = "no known place" } =
      frames.find((frame) => frame["place"]?.startsWith("watchpoints") !== true) ?? {};
    if (this.#told.has(place)) return;
    this.#told.add(place);
    const what = `${isWrite ? "writes" : "reads"} ${cellName(this.#layout, cell)}`;
    this.tell(
      `vCPU ${String(this.#me)} in ${name} (${place}) ${what}, which the ${this.#guard(cell)}, ${when}.`,
    );
  }

  #guard(cell: number): string {
    const guard = this.#guards.guard(cell);
    return guard.endsWith("lock") ? `${guard} guards` : `declaration calls ${guard}`;
  }
}

/** In a slot that is not ready yet: no cell has this number. */
const SETTING_UP = -1;
