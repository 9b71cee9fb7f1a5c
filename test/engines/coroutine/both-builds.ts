/** Thread that runs `run` of a module twice, as it is and as a coroutine, and answers with what each did. */
import { parentPort } from "node:worker_threads";
import { AccessKind } from "../../../src/engines/coroutine/accessors.ts";
import { registerCoroutines } from "../../../src/engines/coroutine/hook.ts";
import { SITES } from "../../../src/engines/coroutine/sites.ts";
import { asCoroutine } from "../../../src/engines/explore/program-world.ts";
import { SCHEDULER } from "../../../src/engines/explore/scheduler.ts";
import { RandomWalk } from "../../../src/engines/explore/strategies/random-walk.ts";

/** What a run did: its accesses and what it said, in order, and how it ended. */
export interface RunOutcome {
  readonly log: readonly string[];
  /** Value, or message of what was thrown. */
  readonly end: string;
  /** Line of the module that threw, 0 for none. */
  readonly line: number;
}

type Run = (memory: unknown, say: (word: unknown) => unknown) => unknown;

const CELLS = 64;
const NOISE = 63;

/** A memory that says what is done to it. */
function memoryFor(log: string[]): object {
  const words = Array.from({ length: CELLS }, (_, index) => index);
  const note = (what: string, given: readonly unknown[]): void => {
    // A coroutine's accesses have one more argument.
    log.push(`${what} ${given.join(" ")}`);
  };
  return {
    loadWord(cell: number): number {
      note("load", [cell]);
      return words[cell] ?? -1;
    },
    storeWord(cell: number, value: number): void {
      note("store", [cell, value]);
      words[cell] = value;
    },
    addWord(cell: number, delta: number): number {
      note("add", [cell, delta]);
      words[cell] = (words[cell] ?? 0) + delta;
      return words[cell] - delta;
    },
  };
}

function outcome(log: string[], end: () => unknown): RunOutcome {
  try {
    const value = end();
    return { log, end: JSON.stringify(value) ?? "undefined", line: 0 };
  } catch (error) {
    const { message, stack = "" } = error as Error;
    const line = /\/[\w-]+\.m?[jt]s(?:\?coroutine)?:(\d+):\d+/.exec(stack)?.[1];
    return { log, end: message, line: Number(line ?? 0) };
  }
}

const noiseSite = SITES.add({
  file: "",
  line: 0,
  column: 0,
  within: "",
  name: "noise",
  accessor: { kind: AccessKind.update, span: 1, mode: "atomic", address: "cell" },
});

function* noise(): Generator<undefined, void> {
  for (let turn = 0; turn < 100; turn++) if (SCHEDULER.at(noiseSite, NOISE)) yield;
}

function runCoroutine(run: Run, seed: number): RunOutcome {
  const log: string[] = [];
  SCHEDULER.adopt(new Int32Array(CELLS));
  SCHEDULER.use(new RandomWalk(seed));
  SCHEDULER.begin();
  return outcome(log, () => {
    const body = asCoroutine(run(memoryFor(log), (word) => (log.push(String(word)), word)));
    let value: unknown;
    SCHEDULER.add(body, -1, (returned) => {
      value = returned;
    });
    SCHEDULER.add(noise());
    SCHEDULER.run();
    return value;
  });
}

async function runBoth(url: string): Promise<object> {
  const plain = (await import(url)) as { run: Run };
  const modules = registerCoroutines([url]);
  const coroutines = (await import(modules.address(url))) as { run: Run };
  const log: string[] = [];
  const first = outcome(log, () => plain.run(memoryFor(log), (word) => (log.push(String(word)), word)));
  const others = [1, 2, 3].map((seed) => runCoroutine(coroutines.run, seed));
  const isCoroutine = SCHEDULER.isCoroutine(coroutines.run(memoryFor([]), () => undefined));
  return { first, others, isCoroutine };
}

parentPort?.on("message", (url: string) => {
  void runBoth(url)
    .catch((error: unknown) => (error as Error).stack ?? "failed")
    .then((answer) => parentPort?.postMessage(answer));
});
