/** Runs in a worker: explores what threads can do at a gate, and says what went wrong. */
import { parentPort } from "node:worker_threads";
import { AccessKind } from "../../src/engines/coroutine/accessors.ts";
import { registerCoroutines } from "../../src/engines/coroutine/hook.ts";
import type * as Model from "../../src/engines/coroutine/model.ts";
import { ProgramWorld, asCoroutine } from "../../src/engines/explore/program-world.ts";
import { Ending, SCHEDULER } from "../../src/engines/explore/scheduler.ts";
import type { Observer, Scheduler } from "../../src/engines/explore/scheduler.ts";
import type { Search } from "../../src/engines/explore/strategy.ts";
import { createStrategy } from "../../src/engines/explore/strategies/catalogue.ts";
import { LockCell, lockArea } from "../../src/locks/lock-area.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import type * as Programs from "./gate-programs.ts";

/** What to explore. */
export interface GateOrder {
  readonly kind: (typeof Programs.ORDER)["kind"];
  readonly visitors: number;
  readonly visits: number;
  readonly strategy: "random" | "dpor";
  readonly executionsMax: number;
  /** Ends with the first execution in which this goes wrong. */
  readonly until?: string;
}

/** What came of it: in how many executions something was wrong, and how many ended with somebody overtaken. */
export interface GateAnswer {
  readonly executions: number;
  /** Whether there is no other execution. */
  readonly isExhausted: boolean;
  readonly overtaken: number;
  /** What went wrong, and how often. */
  readonly wrong: Readonly<Record<string, number>>;
}

const here = (path: string): string => new URL(path, import.meta.url).href;
const model = here("../../src/engines/coroutine/model.ts");
const { address } = registerCoroutines([model, here("gate-programs.ts")]);
const { SharedMemory: CoroutineMemory } = (await import(address(model))) as typeof Model;
const { visitors, ORDER, ENTERED, LAYOUT, LOCK, INSIDE, WORDS } = (await import(
  address(here("gate-programs.ts"))
)) as typeof Programs;

/** The order in which threads come: each kind of lock decides it by one operation, the first that a thread makes of it. */
class Arrivals implements Observer {
  readonly seen: number[] = [];
  readonly #wanting = new Set<number>();
  readonly #decisive = new Map<number, number>();

  constructor() {
    const area = lockArea(LAYOUT, LOCK);
    this.#decisive.set(area + LockCell.held, AccessKind.exchange);
    this.#decisive.set(area + LockCell.nextTicket, AccessKind.update);
    this.#decisive.set(area + LockCell.queueTail, AccessKind.update);
    this.#decisive.set(area + LockCell.state, AccessKind.exchange);
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    const cell = scheduler.cell[thread] ?? 0;
    if (cell === INSIDE) this.#wanting.delete(thread);
    if (this.#decisive.get(cell) !== scheduler.kind[thread] || this.#wanting.has(thread)) return;
    this.#wanting.add(thread);
    // The main thread is number 0.
    this.seen.push(thread - 1);
  }

  afterStep(): void {}
}

const { view, handle } = SharedMemory.create(WORDS);
SCHEDULER.adopt(view);
SCHEDULER.pointsMax = 10_000;

/** One execution: what went wrong in it, and whether somebody was overtaken. */
function execute(strategy: Search): { readonly found: Set<string>; readonly isOvertaken: boolean } {
  SCHEDULER.begin();
  ENTERED.length = 0;
  const world = new ProgramWorld(CoroutineMemory.attach(handle));
  const arrivals = new Arrivals();
  SCHEDULER.observer = arrivals;
  SCHEDULER.add(asCoroutine(visitors(world)));
  const ending = SCHEDULER.run();
  strategy.end(SCHEDULER, ending);
  SCHEDULER.restore();
  const found = new Set(world.failures.map(({ message }) => message));
  if (ending === Ending.deadlock) found.add("somebody sleeps for ever");
  if (ending === Ending.capped) found.add("somebody waits for ever");
  return { found, isOvertaken: ending === Ending.done && ENTERED.join() !== arrivals.seen.join() };
}

function explore(order: GateOrder): GateAnswer {
  Object.assign(ORDER, order);
  const strategy = createStrategy(order.strategy, { seed: 1 });
  const wrong: Record<string, number> = {};
  let overtaken = 0;
  for (let executions = 0; executions < order.executionsMax; executions++) {
    SCHEDULER.use(strategy);
    if (!strategy.begin(SCHEDULER, executions)) return { executions, isExhausted: true, overtaken, wrong };
    const { found, isOvertaken } = execute(strategy);
    if (isOvertaken) overtaken++;
    for (const message of found) wrong[message] = (wrong[message] ?? 0) + 1;
    if (order.until !== undefined && found.has(order.until)) break;
  }
  return { executions: order.executionsMax, isExhausted: false, overtaken, wrong };
}

parentPort?.on("message", (order: GateOrder) => parentPort?.postMessage(explore(order)));
