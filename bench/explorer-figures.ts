/** What the explorer does in a second, on one core without checks, with them, and on two cores: the table's second part. */
import { SharedMemory } from "../src/memory/shared-memory.ts";
import { registerCoroutines } from "../src/engines/coroutine/hook.ts";
import { execute } from "../src/engines/explore/execution.ts";
import { runExplore } from "../src/engines/explore/campaign.ts";
import { isThorough } from "../src/engines/explore/explorer.ts";
import { planExplore } from "../src/engines/explore/explore-plan.ts";
import { loadWorld } from "../src/engines/explore/load-world.ts";
import { ProgramWorld, asCoroutine } from "../src/engines/explore/program-world.ts";
import { SCHEDULER } from "../src/engines/explore/scheduler.ts";
import { RandomWalk } from "../src/engines/explore/strategies/random-walk.ts";
import type { World } from "../src/engines/explore/world.ts";

/** One figure: so many of something in a second, or a ratio. */
export interface ExplorerFigure {
  readonly name: string;
  readonly unit: "points/s" | "executions/s" | "times";
  readonly target: number;
}

/** All figures, in the order of the table. */
export const EXPLORER_FIGURES = {
  points: { name: "reorder_3, begun and awaited by a main thread", unit: "points/s", target: 5_000_000 },
  begun: { name: "reorder_3, begun and awaited by a main thread", unit: "executions/s", target: 800_000 },
  executions: { name: "reorder_3, its three threads alone", unit: "executions/s", target: 800_000 },
  scenario: { name: "map-unmap-shootdown, no checks", unit: "points/s", target: 2_000_000 },
  checked: { name: "map-unmap-shootdown, all checks", unit: "points/s", target: 666_667 },
  cores: { name: "two workers, by the work of one", unit: "times", target: 1.8 },
} as const satisfies Readonly<Record<string, ExplorerFigure>>;

/** Name of a figure. */
export type ExplorerFigureName = keyof typeof EXPLORER_FIGURES;

const ROUNDS = 7;
const ROUND_MS = 700;
const PROGRAM_URL = new URL("../test/explore/programs/reorder.ts", import.meta.url).href;

interface Rate {
  readonly points: number;
  readonly executions: number;
}

/** Measures figures that need the same world, in this process alone. The best of several rounds: others only slow it. */
export async function measureExplorer(name: ExplorerFigureName): Promise<number> {
  if (name === "cores") return measureCores();
  if (name === "points") return best(await calibrationWorld(false)).points;
  if (name === "begun" || name === "executions")
    return best(await calibrationWorld(name === "executions")).executions;
  const { target } = await planExplore({ scenario: "map-unmap-shootdown", seed: "1" });
  const { world } = await loadWorld(target);
  return best(name === "checked" ? world : { ...bound(world), observer: null, end: () => [] }).points;
}

function bound(world: World): World {
  return {
    name: world.name,
    observer: world.observer,
    begin: () => {
      world.begin();
    },
    end: (ending, isWhole) => world.end(ending, isWhole),
    threadName: (thread) => world.threadName(thread),
    cellName: (cell) => world.cellName(cell),
  };
}

function best(world: World): Rate {
  const strategy = new RandomWalk(1);
  let iteration = 0;
  let result: Rate = { points: 0, executions: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    let points = 0;
    let executions = 0;
    while (performance.now() - began < ROUND_MS) {
      for (let batch = 0; batch < 10; batch++) {
        execute(world, strategy, iteration, isThorough(iteration));
        iteration++;
        points += SCHEDULER.points;
        executions++;
      }
    }
    const seconds = (performance.now() - began) / 1000;
    result = {
      points: Math.max(result.points, points / seconds),
      executions: Math.max(result.executions, executions / seconds),
    };
  }
  return result;
}

/**
 * Published figures of others are of three threads that are there from the start: some 7 operations. A main thread that
 * begins them and waits for their ends adds 6, and a fourth coroutine.
 */
async function calibrationWorld(areThereFromTheStart: boolean): Promise<World> {
  const { address } = registerCoroutines([
    PROGRAM_URL,
    new URL("../src/engines/coroutine/model.ts", import.meta.url).href,
  ]);
  const { reorder3, setter, checker } = await import(address(PROGRAM_URL));
  const first = areThereFromTheStart ? [setter, setter, checker] : [reorder3];
  const model = await import(address(new URL("../src/engines/coroutine/model.ts", import.meta.url).href));
  const memory = model.SharedMemory.attach(SharedMemory.create(ProgramWorld.cells).handle);
  SCHEDULER.adopt(memory.view);
  let program = new ProgramWorld(memory);
  return {
    name: "reorder_3",
    observer: null,
    begin: () => {
      SCHEDULER.restore();
      SCHEDULER.begin();
      program = new ProgramWorld(memory);
      for (const body of first) SCHEDULER.add(asCoroutine(body(program)));
    },
    end: () => program.failures,
    threadName: String,
    cellName: String,
  };
}

/**
 * The same executions by two workers and by one, one after the other. Rounds are long: in their first seconds the compiler,
 * which has threads of its own, takes a core from the second worker, and has one for itself beside a single worker.
 */
async function measureCores(): Promise<number> {
  const rates: number[] = [];
  for (const workers of ["1", "2"]) {
    const plan = await planExplore({
      scenario: "map-unmap-shootdown",
      strategy: "random",
      seconds: "45",
      seed: "1",
      workers,
    });
    rates.push((await runExplore(plan)).pointsPerSecond);
  }
  const [one = 0, two = 0] = rates;
  return two / one;
}
