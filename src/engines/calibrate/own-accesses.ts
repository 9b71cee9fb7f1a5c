/** What accesses cost a thread that nobody disturbs: the model's own accessors on lines at every distance. */
import { SharedMemory } from "../../memory/shared-memory.ts";
import type { MeasuredTime } from "../../report/types.ts";
import { shuffledChain } from "./chain.ts";
import { measureRounds } from "./rounds.ts";
import type { Series } from "./rounds.ts";

const LINE_WORDS = 16;
const PAGE_WORDS = 1024;
/** Lines that lie in every core's nearest cache; those that fill it and the next; and more than any cache holds. */
const NEAR_LINES = 128;
const MIDDLE_LINES = 2 ** 16;
const FAR_LINES = 2 ** 21;
const STEPS = 8192;

/** Measures each for so long. */
export function measureOwnAccesses(milliseconds: number): MeasuredTime[] {
  const near = SharedMemory.create(NEAR_LINES * LINE_WORDS);
  shuffledChain(near, NEAR_LINES);
  return [
    ...nearAccesses(near, milliseconds),
    measured(
      "near line",
      "a load that waits for the one before, in the nearest cache",
      chase(near, milliseconds),
    ),
    measured(
      "shared level",
      "the same, in the cache that all cores share",
      chaseOver(MIDDLE_LINES, milliseconds),
    ),
    measured("memory", "the same, in memory", chaseOver(FAR_LINES, milliseconds)),
    measured("filled line", "a line of 64 bytes, of pages that are filled as a whole", fill(milliseconds)),
    measured(
      "look",
      "one look of a waiter that spins: its cell, its doorbell, a pause",
      look(near, milliseconds),
    ),
  ];
}

/** Accesses in lines of one's own, one behind the other, with nothing that waits for their result. */
function nearAccesses(memory: SharedMemory, milliseconds: number): MeasuredTime[] {
  const accesses: readonly (readonly [name: string, about: string, round: () => void])[] = [
    [
      "plain load",
      "of a cell that a lock guards, in a line of one's own",
      () => {
        for (let step = 0; step < STEPS; step++) keep(memory.loadGuarded(cellOf(step)));
      },
    ],
    [
      "load",
      "an atomic load, in a line of one's own",
      () => {
        for (let step = 0; step < STEPS; step++) keep(memory.loadWord(cellOf(step)));
      },
    ],
    [
      "store",
      "an atomic store, into a line of one's own",
      () => {
        for (let step = 0; step < STEPS; step++) memory.storeWord(cellOf(step), step);
      },
    ],
    [
      "update",
      "an atomic addition, in a line of one's own",
      () => {
        for (let step = 0; step < STEPS; step++) keep(memory.addWord(cellOf(step), 1));
      },
    ],
    [
      "exchange",
      "an atomic compare-exchange, in a line of one's own",
      () => {
        for (let step = 0; step < STEPS; step++) keep(memory.compareExchangeWord(cellOf(step), step, step));
      },
    ],
  ];
  return accesses.map(([name, about, round]) =>
    measured(name, about, measureRounds(milliseconds, STEPS, round)),
  );
}

function cellOf(step: number): number {
  return (step & (NEAR_LINES - 1)) * LINE_WORDS + 1;
}

function chaseOver(lines: number, milliseconds: number): Series {
  const memory = SharedMemory.create(lines * LINE_WORDS);
  shuffledChain(memory, lines);
  return chase(memory, milliseconds);
}

/** Follows the chain: each load waits for the one before, and each round goes on where the last has ended. */
function chase(memory: SharedMemory, milliseconds: number): Series {
  let at = 0;
  return measureRounds(milliseconds, STEPS, () => {
    for (let step = 0; step < STEPS; step++) at = memory.loadWord(at);
    keep(at);
  });
}

function fill(milliseconds: number): Series {
  const pages = 64;
  const memory = SharedMemory.create(pages * PAGE_WORDS);
  return measureRounds(milliseconds, (pages * PAGE_WORDS) / LINE_WORDS, () => {
    for (let page = 0; page < pages; page++) memory.fillWords(page * PAGE_WORDS, PAGE_WORDS, page);
  });
}

/** As `Waiter` looks (memory/wait.ts). */
function look(memory: SharedMemory, milliseconds: number): Series {
  const looks = 512;
  return measureRounds(milliseconds, looks, () => {
    for (let each = 0; each < looks; each++) {
      keep(memory.loadWord(0));
      keep(memory.loadWord(LINE_WORDS));
      Atomics.pause();
    }
  });
}

function measured(name: string, about: string, series: Series): MeasuredTime {
  return { name, about, ...series };
}

let kept = 0;

/** What is loaded must matter, or a compiler would not load it. */
function keep(value: number): void {
  kept = (kept + value) | 0;
}
