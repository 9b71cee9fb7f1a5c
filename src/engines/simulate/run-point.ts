/** Simulates one point of a sweep, on the thread that it is called on. A thread simulates one scenario. */
import { registerCoroutines } from "../coroutine/hook.ts";
import { RefusedError } from "../coroutine/hook.ts";
import { UsageError } from "../errors.ts";
import type * as Model from "../coroutine/model.ts";
import { importLoadedScenario } from "../scenario-files.ts";
import type { PointAnswer, PointTask } from "./point-task.ts";
import { pointOf } from "./point.ts";
import { Reading, countersBetween } from "./reading.ts";
import { SimulatedMachine } from "./simulated-machine.ts";
import type { LoadedScenario } from "./simulated-machine.ts";
import { SCHEDULER } from "./virtual-scheduler.ts";
import type { VirtualEnding } from "./virtual-time.ts";
import { Window } from "./window.ts";

const MODEL_URL = new URL("../coroutine/model.ts", import.meta.url).href;
const SCHEDULER_URL = new URL("virtual-scheduler.ts", import.meta.url).href;

let loaded: { readonly url: string; readonly scenario: Promise<LoadedScenario> } | undefined;

function scenarioAt(url: string): Promise<LoadedScenario> {
  loaded ??= { url, scenario: load(url) };
  if (loaded.url !== url) throw new Error("a thread simulates one scenario");
  return loaded.scenario;
}

async function load(url: string): Promise<LoadedScenario> {
  // The plain build loads first: it resolves "umbra" and boots the machine.
  const scenario = await importLoadedScenario(url);
  const { address } = registerCoroutines([MODEL_URL, url], { schedulerUrl: SCHEDULER_URL });
  const coroutines = await importLoadedScenario(address(url));
  const model: unknown = await import(address(MODEL_URL));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the module at this address is that one, rewritten
  return { scenario, coroutines, model: model as typeof Model };
}

/** Simulates a point. */
export async function runPoint(task: PointTask): Promise<PointAnswer> {
  try {
    const scenario = await scenarioAt(task.url);
    const machine = new SimulatedMachine(task, scenario);
    const { ending, readings, window, cpuSeconds } = simulate(machine, task);
    const point = pointOf(task, machine, { ending, readings, window });
    return { point, counters: countersBetween(readings), cpuSeconds };
  } catch (error) {
    if (error instanceof RefusedError || error instanceof UsageError || error instanceof RangeError)
      return { refused: error.message };
    throw error;
  }
}

/** What a simulation left behind. */
export interface Simulation {
  readonly ending: VirtualEnding;
  /** At the window's two ends; none if it never began. */
  readonly readings: readonly Reading[];
  readonly window: Window;
}

function simulate(machine: SimulatedMachine, task: PointTask): Simulation & { readonly cpuSeconds: number } {
  const readings: Reading[] = [];
  const window = new Window(task.windowNanos, task.config.vcpus, {
    begin: (time) => {
      SCHEDULER.locks?.beginWindow(time);
      readings.push(new Reading(machine));
    },
    end: (time) => {
      SCHEDULER.locks?.endWindow(time);
      readings.push(new Reading(machine));
    },
  });
  machine.watch(window);
  SCHEDULER.observer = window;
  const began = process.threadCpuUsage();
  const ending = SCHEDULER.run();
  const used = process.threadCpuUsage(began);
  window.close(SCHEDULER.clock);
  return { ending, readings, window, cpuSeconds: (used.user + used.system) / 1_000_000 };
}
