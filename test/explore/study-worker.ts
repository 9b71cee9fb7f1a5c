/** Finds a failure of a program by the random walk and studies it. A thread of its own, as the load hook wants. */
import { parentPort, workerData } from "node:worker_threads";
import { registerCoroutines } from "../../src/engines/coroutine/hook.ts";
import { execute, keyOfFailure, replay } from "../../src/engines/explore/execution.ts";
import type * as Model from "../../src/engines/coroutine/model.ts";
import { ProgramWorld, asCoroutine } from "../../src/engines/explore/program-world.ts";
import { SCHEDULER } from "../../src/engines/explore/scheduler.ts";
import { createStrategy } from "../../src/engines/explore/strategies/catalogue.ts";
import { studyFailure } from "../../src/engines/explore/failures/study-failure.ts";
import type { StudiedFailure } from "../../src/engines/explore/failures/study-failure.ts";
import type { World } from "../../src/engines/explore/world.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";

/** What is studied. */
export interface StudyOrder {
  readonly file: string;
  readonly program: string;
  readonly seed: number;
}

/** What came of it. */
export interface StudyAnswer {
  readonly studied: StudiedFailure;
  /** Whether the minimised schedule fails with the same key when it is replayed. */
  readonly failsAgain: boolean;
  /** Whether it still fails with any one of its directives left out. */
  readonly isMinimal: boolean;
}

const EXECUTIONS_MAX = 20_000;

async function run({ file, program, seed }: StudyOrder): Promise<StudyAnswer> {
  const url = new URL(`programs/${file}.ts`, import.meta.url).href;
  const modelUrl = new URL("../../src/engines/coroutine/model.ts", import.meta.url).href;
  const { address } = registerCoroutines([url, modelUrl]);
  const main = ((await import(address(url))) as Record<string, (world: ProgramWorld) => void>)[program];
  const model = (await import(address(modelUrl))) as typeof Model;
  const memory = model.SharedMemory.attach(SharedMemory.create(ProgramWorld.cells).handle);
  SCHEDULER.adopt(memory.view);
  let current = new ProgramWorld(memory);
  const world: World = {
    name: program,
    observer: null,
    begin: () => {
      SCHEDULER.restore();
      SCHEDULER.begin();
      current = new ProgramWorld(memory);
      SCHEDULER.add(asCoroutine(main?.(current)));
    },
    end: () => current.failures,
    threadName: (thread) => (thread === 0 ? "main" : `thread ${String(thread)}`),
    cellName: (cell) => `cell ${String(cell)}`,
  };
  const strategy = createStrategy("random", { seed });
  for (let iteration = 0; iteration < EXECUTIONS_MAX; iteration++) {
    const execution = execute(world, strategy, iteration);
    const [first] = execution?.failures ?? [];
    if (first === undefined) continue;
    const key = keyOfFailure(first);
    const fails = (directives: StudiedFailure["directives"]): boolean =>
      replay(world, directives).failures.some((each) => keyOfFailure(each) === key);
    const studied = studyFailure(world, SCHEDULER.chosen.slice(0, SCHEDULER.points + 1), key);
    const { directives } = studied;
    const isMinimal = directives.every((_, left) => !fails(directives.filter((_each, at) => at !== left)));
    return { studied, failsAgain: fails(directives), isMinimal };
  }
  throw new Error(`${program} did not fail`);
}

parentPort?.postMessage(await run(workerData as StudyOrder));
