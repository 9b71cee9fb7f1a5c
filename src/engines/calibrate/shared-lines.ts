/** What two threads cost each other: lines that one of them has and the other wants, and words that both do. */
import { hrtime } from "node:process";
import type { MeasuredTime } from "../../report/types.ts";
import { Waiter } from "../../memory/wait.ts";
import { cell } from "../../memory/units.ts";
import { shuffledChain } from "./chain.ts";
import { DATA } from "./partner.ts";
import type { Partner } from "./partner.ts";
import { measureRounds, measureTimes, seriesOf } from "./rounds.ts";
import type { Series } from "./rounds.ts";

const LINE_WORDS = 16;
const NANOS_PER_MILLI = 1e6;
const NANOS_PER_SECOND = 1e9;
/** Lines that go from one to the other in a round: few enough to stay in the nearest cache. */
const LINES = 128;
const STEPS = 2048;
/** How long a sleeper sleeps: long enough to sleep, and no longer than those who wait for a lock, as idle cores sink deeper. */
const SLEEP_MS = 0.05;
const SLEEP_MAX_MS = 100;

/** Behind the chain: a word that both want, a wait pair for each, an area for a waiter of each, times. */
const WORD = DATA + LINES * LINE_WORDS;
const PAIRS = WORD + LINE_WORDS;
const AREAS = PAIRS + 2 * LINE_WORDS;
const WAKING = AREAS + 4 * LINE_WORDS;

/** Measures each for so long; both threads call it. What a thread measured itself comes back. */
export function measureSharedLines(partner: Partner, milliseconds: number): MeasuredTime[] {
  return partner.me === 0 ? leadAll(partner, milliseconds) : followAll(partner);
}

function leadAll(partner: Partner, milliseconds: number): MeasuredTime[] {
  const { memory } = partner;
  const chain = cell(DATA);
  shuffledChain(memory, LINES, chain);
  const write = (): number => {
    const start = performance.now();
    for (let line = 0; line < LINES; line++) memory.storeWord(chain + line * LINE_WORDS + 1, line);
    return ((performance.now() - start) * NANOS_PER_MILLI) / LINES;
  };
  const invalidation = partner.lead(() =>
    measureTimes(milliseconds, () => {
      write();
      partner.exchangeTurns();
      return write();
    }),
  );
  const contended = partner.lead(() =>
    measureRounds(milliseconds, 2 * STEPS, () => {
      for (let step = 0; step < STEPS; step++) memory.addWord(WORD, 1);
    }),
  );
  const handOff = partner.lead(() => passToAndFro(partner, milliseconds));
  const { waking } = partner.lead(() => wakeAgainAndAgain(partner, milliseconds));
  return [
    {
      name: "invalidation",
      about: "a store into a line of one's own that another thread has read",
      ...invalidation,
    },
    {
      name: "contended update",
      about: "between two additions to a word to which two threads add",
      ...contended,
    },
    {
      name: "hand-off",
      about: "from a store until a thread that waits for it in the model has stored",
      ...handOff,
    },
    { name: "waking", about: "what waking a sleeper costs the thread that wakes it", ...waking },
  ];
}

function followAll(partner: Partner): MeasuredTime[] {
  const transfers: number[] = [];
  partner.follow(() => {
    for (;;) {
      partner.takeTurn();
      if (partner.isOver()) return;
      transfers.push(chase(partner));
      partner.passTurn();
    }
  });
  partner.follow(() => {
    while (!partner.isOver()) for (let step = 0; step < STEPS; step++) partner.memory.addWord(WORD, 1);
  });
  partner.follow(() => {
    answerAll(partner);
  });
  const wakeups: number[] = [];
  partner.follow(() => {
    sleepAgainAndAgain(partner, wakeups);
  });
  return [
    {
      name: "transfer",
      about: "a load that waits for the one before, of a line that another thread has written",
      ...settled(transfers),
    },
    { name: "wake-up", about: "from the waking of a sleeping thread until it runs", ...settled(wakeups) },
  ];
}

/** Without the first quarter, in which compilers had their say. */
function settled(times: readonly number[]): Series {
  return seriesOf(times.slice(times.length >> 2));
}

/** Follows the chain through the lines that the other has written. */
function chase({ memory }: Partner): number {
  let at: number = DATA;
  const start = performance.now();
  for (let line = 0; line < LINES; line++) at = memory.loadWord(at);
  const nanos = ((performance.now() - start) * NANOS_PER_MILLI) / LINES;
  if (at !== DATA) throw new Error("the chain is broken");
  return nanos;
}

function passToAndFro(partner: Partner, milliseconds: number): Series {
  const { memory } = partner;
  const waiter = new Waiter(memory, cell(AREAS));
  const trips = 64;
  let trip = 0;
  return measureRounds(milliseconds, 2 * trips, () => {
    for (let each = 0; each < trips; each++) {
      memory.storeWord(PAIRS, ++trip);
      waiter.wakeSleepers(PAIRS);
      while (memory.loadWord(PAIRS + LINE_WORDS) !== trip) waiter.waitWhile(PAIRS + LINE_WORDS, trip - 1);
    }
  });
}

function answerAll(partner: Partner): void {
  const { memory } = partner;
  const waiter = new Waiter(memory, cell(AREAS + 2 * LINE_WORDS));
  let trip = 0;
  while (!partner.isOver()) {
    waiter.waitWhile(PAIRS, trip);
    if (memory.loadWord(PAIRS) === trip) continue;
    memory.storeWord(PAIRS + LINE_WORDS, ++trip);
    waiter.wakeSleepers(PAIRS + LINE_WORDS);
  }
}

/** The clock that all threads share, in nanoseconds of a day: a word of memory has room for no more. */
function sharedClock(): number {
  const [seconds, nanos] = hrtime();
  return (seconds % 2) * NANOS_PER_SECOND + nanos;
}

function wakeAgainAndAgain({ memory }: Partner, milliseconds: number): { readonly waking: Series } {
  const waking = measureTimes(milliseconds, () => {
    while (memory.loadWord(WAKING + LINE_WORDS) === 0) Atomics.pause();
    memory.storeWord(WAKING + LINE_WORDS, 0);
    const until = performance.now() + SLEEP_MS;
    while (performance.now() < until) Atomics.pause();
    memory.storeWord(WAKING + 2 * LINE_WORDS, sharedClock());
    const start = performance.now();
    memory.addWord(WAKING, 1);
    Atomics.notify(memory.view, WAKING);
    return (performance.now() - start) * NANOS_PER_MILLI;
  });
  return { waking };
}

function sleepAgainAndAgain(partner: Partner, wakeups: number[]): void {
  const { memory } = partner;
  while (!partner.isOver()) {
    const before = memory.loadWord(WAKING);
    memory.storeWord(WAKING + LINE_WORDS, 1);
    if (Atomics.wait(memory.view, WAKING, before, SLEEP_MAX_MS) !== "ok") continue;
    const nanos = sharedClock() - memory.loadWord(WAKING + 2 * LINE_WORDS);
    wakeups.push(nanos < 0 ? nanos + 2 * NANOS_PER_SECOND : nanos);
  }
}
