/** Thread that runs single-vCPU guests in both builds and compares everything that they leave behind. */
import { parentPort, workerData } from "node:worker_threads";
import * as fc from "fast-check";
import { Loader } from "../../../src/guest/loader.ts";
import type { GuestFormat, Scenario } from "../../../src/guest/scenario.ts";
import { Machine } from "../../../src/hypervisor/machine.ts";
import { PRESETS, machineConfig } from "../../../src/hypervisor/machine-config.ts";
import type { MachineConfig, PresetName } from "../../../src/hypervisor/machine-config.ts";
import type { Clock } from "../../../src/memory/clock.ts";
import { registerCoroutines } from "../../../src/engines/coroutine/hook.ts";
import { planExplore } from "../../../src/engines/explore/explore-plan.ts";
import * as plainModel from "../../../src/engines/coroutine/model.ts";
import { asCoroutine } from "../../../src/engines/explore/program-world.ts";
import { ScenarioWorld } from "../../../src/engines/explore/scenario-world.ts";
import { SCHEDULER } from "../../../src/engines/explore/scheduler.ts";
import { RandomWalk } from "../../../src/engines/explore/strategies/random-walk.ts";
import { resolveUmbraName } from "../../../src/engines/umbra-name.ts";
import type { Operation } from "./scripted-guest.ts";

/** What is asked of the thread. */
export type Question =
  | { readonly kind: "scripts"; readonly runs: number; readonly seed: number; readonly isTampered: boolean }
  | { readonly kind: "scenario"; readonly name: string; readonly rounds: string }
  | {
      readonly kind: "leaks";
      readonly name: string;
      readonly executions: number;
      readonly isTampered: boolean;
    };

/** What was compared, and the first difference. */
export interface Comparison {
  readonly compared: number;
  /** Guest operations of all runs. */
  readonly operations: number;
  /** Scheduling points of all runs. */
  readonly points: number;
  readonly difference: string | null;
}

const HERE = new URL(".", import.meta.url);
const MODEL_URL = new URL("../../../src/engines/coroutine/model.ts", HERE).href;
const SCRIPTED_URL = new URL("scripted-guest.ts", HERE).href;
const { scenarios } = workerData as { scenarios: readonly string[] };

resolveUmbraName();
const { address } = modules();
const coroutineModel = (await import(address(MODEL_URL))) as typeof plainModel;

function modules(): { address: (url: string) => string } {
  const registered = registerCoroutines([MODEL_URL, SCRIPTED_URL, ...scenarios]);
  return { address: (url) => registered.address(url) };
}

/** Goes on with every question: both builds must ask equally often. */
class CountingClock implements Clock {
  asked = 0;

  now(): number {
    return ++this.asked;
  }
}

interface Subject {
  readonly config: MachineConfig;
  readonly guest: GuestFormat;
  readonly options: Scenario["options"];
  readonly rounds: number;
}

/** A machine with the guest's memory set up, run again and again from there. */
class Side {
  readonly machine: Machine;
  readonly #scenario: Scenario;
  readonly #subject: Subject;
  readonly #isCoroutine: boolean;
  readonly #initial: Int32Array;
  readonly #shared: object;
  clock = new CountingClock();
  operations = 0;

  constructor(scenario: Scenario, booted: Scenario, subject: Subject, isCoroutine: boolean) {
    this.#scenario = scenario;
    this.#subject = subject;
    this.#isCoroutine = isCoroutine;
    const { config, guest, options } = subject;
    this.machine = Machine.create(config, this.clock);
    const loader = new Loader({ ram: this.machine.guestRam(), format: guest, vcpus: 1 });
    this.#shared = structuredClone(booted.boot(loader, options)) as object;
    this.#initial = this.machine.memory.view.slice();
  }

  /** What a run says of itself. */
  run(given: object): unknown {
    this.machine.memory.view.set(this.#initial);
    this.clock = new CountingClock();
    const model = this.#isCoroutine ? coroutineModel : plainModel;
    if (this.#isCoroutine) SCHEDULER.adopt(this.machine.memory.view);
    SCHEDULER.use(new RandomWalk(1));
    SCHEDULER.begin();
    const machine = model.attachMachine(this.machine.handle);
    const hosted = finished(model.hostVcpu(machine, 0, this.clock));
    let left = this.#subject.rounds;
    const { guest, options } = this.#subject;
    const shared = { ...this.#shared, ...given };
    const limits = { isOver: () => left-- <= 0 };
    const end = this.#thread(() =>
      model.runVcpu(hosted, { scenario: this.#scenario, guest, options, seed: 7, shared, limits }),
    );
    this.operations += hosted.vcpu.operations;
    const { findings } = hosted.vcpu;
    return { end, findings, clock: this.clock.asked };
  }

  /** What taking the domain apart says of it. */
  takeApart(): unknown {
    const model = this.#isCoroutine ? coroutineModel : plainModel;
    const machine = model.attachMachine(this.machine.handle);
    const domain = finished(model.hostToolstack(machine, this.clock));
    return finished(model.takeApart(domain));
  }

  #thread(body: () => unknown): unknown {
    if (!this.#isCoroutine) return body();
    const coroutine = asCoroutine(body());
    let value: unknown;
    SCHEDULER.add(coroutine, -1, (returned) => {
      value = returned;
    });
    SCHEDULER.run();
    return value;
  }
}

/** Outside of an execution nothing yields. */
function finished<Result>(value: Result): Result {
  return SCHEDULER.isCoroutine(value) ? (value.next().value as Result) : value;
}

/** The first thing in which two sides differ after a run of each. */
function difference(plain: Side, coroutine: Side, given: () => { answers: number[] }): string | null {
  const [first, second] = [plain, coroutine].map((side) => {
    const script = given();
    return JSON.stringify([side.run(script), script.answers]);
  });
  if (first !== second) return `results: ${first ?? ""} but ${second ?? ""}`;
  return firstCell(plain, coroutine);
}

function firstCell(plain: Side, coroutine: Side): string | null {
  const [a, b] = [plain.machine.memory.view, coroutine.machine.memory.view];
  for (let cell = 0; cell < a.length; cell++) {
    if (a[cell] === b[cell]) continue;
    const place = placeOf(plain.machine, cell);
    return `cell ${String(cell)}${place}: ${String(a[cell])} but ${String(b[cell])}`;
  }
  return null;
}

function placeOf({ layout }: Machine, cell: number): string {
  const inside = Object.entries(layout.regions).find(
    ([, { offset, words }]) => cell >= offset && cell < offset + words,
  );
  return inside === undefined ? "" : ` (${inside[0]} + ${String(cell - inside[1].offset)})`;
}

function urlOf(name: string): string {
  return scenarios.find((each) => each.endsWith(`/${name}.ts`)) ?? "";
}

async function pair(url: string, subject: Subject): Promise<[Side, Side]> {
  const plain = ((await import(url)) as { default: Scenario }).default;
  const coroutines = ((await import(address(url))) as { default: Scenario }).default;
  return [new Side(plain, plain, subject, false), new Side(coroutines, plain, subject, true)];
}

async function compareScenario(name: string, rounds: string): Promise<Comparison> {
  const url = urlOf(name);
  const { target } = await planExplore({ scenario: name, vcpus: "1", rounds, seed: "1" });
  const [plain, coroutine] = await pair(url, target);
  let found = difference(plain, coroutine, () => ({ answers: [] }));
  const points = SCHEDULER.points;
  if (found === null) {
    const [first, second] = [plain.takeApart(), coroutine.takeApart()].map((each) => JSON.stringify(each));
    found = first === second ? firstCell(plain, coroutine) : `${first ?? ""} but ${second ?? ""}`;
  }
  return { compared: 1, operations: plain.operations, points, difference: found };
}

/** Whether every execution finds what the first one found. */
async function lookForLeaks(question: Extract<Question, { kind: "leaks" }>): Promise<Comparison> {
  const { name, executions, isTampered } = question;
  const url = urlOf(name);
  const { target } = await planExplore({ scenario: name, seed: "1" });
  const world = new ScenarioWorld({
    ...target,
    scenario: ((await import(url)) as { default: Scenario }).default,
    coroutines: ((await import(address(url))) as { default: Scenario }).default,
    model: coroutineModel,
  });
  SCHEDULER.pointsMax = target.pointsMax;
  const strategy = new RandomWalk(1);
  let points = 0;
  for (let execution = 0; execution < executions; execution++) {
    world.begin();
    strategy.begin(SCHEDULER, execution);
    SCHEDULER.use(strategy);
    world.end(SCHEDULER.run(), true);
    ({ points } = SCHEDULER);
    if (isTampered) SCHEDULER.view[SCHEDULER.view.length - 1] = 1;
    SCHEDULER.restore();
    const cell = SCHEDULER.leak();
    if (cell < 0) continue;
    const place = placeOf(world.machine, cell);
    return { compared: execution + 1, operations: 0, points, difference: `cell ${String(cell)}${place}` };
  }
  return { compared: executions, operations: 0, points, difference: null };
}

const word = fc.oneof(fc.nat(15), fc.nat(0xffff));
const script = fc.array(fc.tuple(fc.nat(11), word, fc.nat(3), word), { maxLength: 40, size: "max" });

async function compareScripts({
  runs,
  seed,
  isTampered,
}: Extract<Question, { kind: "scripts" }>): Promise<Comparison> {
  const subjects = (["2level", "pae", "4level"] as const).flatMap((guest) =>
    (["talk", "talk-before"] as const).map((era) => ({
      config: configFor(era),
      guest,
      options: {},
      rounds: 1,
    })),
  );
  const pairs = await Promise.all(subjects.map((subject) => pair(SCRIPTED_URL, subject)));
  let [compared, points] = [0, 0];
  const property = fc.property(fc.nat(pairs.length - 1), script, (index, operations) => {
    const [plain, coroutine] = pairs[index] ?? [];
    if (plain === undefined || coroutine === undefined) return;
    compared++;
    const found = difference(plain, coroutine, () => ({ operations: tampered(operations), answers: [] }));
    points += SCHEDULER.points;
    if (found !== null) throw new Error(found);
  });
  let asked = 0;
  const tampered = (operations: readonly Operation[]): readonly Operation[] =>
    // Every other asker is the coroutine: one store of it has another value.
    isTampered && asked++ % 2 === 1
      ? operations.map(([kind, place, other, value]) => [kind, place, other, kind === 2 ? value + 1 : value])
      : operations;
  const { failed, counterexample, errorInstance } = fc.check(property, { numRuns: runs, seed });
  const message = errorInstance instanceof Error ? errorInstance.message : "";
  return {
    compared,
    operations: pairs.reduce((sum, [plain]) => sum + plain.operations, 0),
    points,
    difference: failed ? `${message}; after ${JSON.stringify(counterexample)}` : null,
  };
}

function configFor(preset: PresetName): MachineConfig {
  const sizes = { vcpus: 1, ramPages: 96, poolPages: 1, poolPagesMax: 256, tlbSets: 4, tlbWays: 2 };
  return machineConfig({ ...sizes, structureCacheEntries: 4, switches: PRESETS[preset] });
}

function answer(question: Question): Promise<Comparison> {
  if (question.kind === "scripts") return compareScripts(question);
  if (question.kind === "leaks") return lookForLeaks(question);
  return compareScenario(question.name, question.rounds);
}

parentPort?.on("message", (question: Question) => {
  void answer(question)
    .catch((error: unknown) => (error as Error).stack ?? "failed")
    .then((comparison) => parentPort?.postMessage(comparison));
});
