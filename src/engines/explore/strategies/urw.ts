/**
 * The random walk that is uniform over interleavings instead of choices (concurrency 3.4): a thread goes on with a
 * probability in proportion to the operations that it and the threads it will begin have left, by what earlier
 * executions had. The first has nothing to go by and is a plain random walk.
 */
import { Ending, THREADS_MAX } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { Learnt } from "../strategy.ts";
import { Sampling } from "./sampling.ts";
import { isAtMostOne, lowestOf } from "./thread-set.ts";

/** An estimate is the most of this many executions at least, and of twice as many at most: one short run misleads. */
const WINDOW = 100;

/** A thread by the way it came to be: the same one in each execution, whatever its number is. */
interface Role {
  /** Numbers of births on the way to it: `0`, `0.2`. */
  readonly path: string;
  readonly parent: Role | null;
  readonly children: Role[];
  /** Operations in the execution that is over, without those of its children. */
  performed: number;
  /** Most operations in the window before this one, and in this one so far. */
  mostBefore: number;
  most: number;
  /** Operations expected, with those of all threads that come of it. */
  expected: number;
}

/** A random walk weighted by the operations that remain. */
export class UniformWalk extends Sampling {
  readonly name = "urw";
  readonly #first = makeRole("", null);
  readonly #all: Role[] = [];
  readonly #roles: Role[] = [];
  readonly #births = new Int32Array(THREADS_MAX);
  /** Operations that each thread has left, 1 at least. */
  readonly #left = new Float64Array(THREADS_MAX);
  #threads = 0;
  #runs = 0;

  override begin(scheduler: Scheduler, iteration: number): boolean {
    this.#threads = 0;
    return super.begin(scheduler, iteration);
  }

  choose(scheduler: Scheduler, enabled: number): number {
    if (this.#threads < scheduler.threads) this.#meet(scheduler.threads);
    if (isAtMostOne(enabled)) return lowestOf(enabled);
    let total = 0;
    for (let set = enabled; set !== 0; set &= set - 1) total += this.#left[lowestOf(set)] ?? 0;
    let point = this.random.fraction() * total;
    let set = enabled;
    for (; !isAtMostOne(set); set &= set - 1) {
      point -= this.#left[lowestOf(set)] ?? 0;
      if (point < 0) break;
    }
    return lowestOf(set);
  }

  committed(_: Scheduler, thread: number): void {
    const left = this.#left[thread] ?? 1;
    if (left > 1) this.#left[thread] = left - 1;
  }

  spawned(scheduler: Scheduler, thread: number): void {
    const parent = scheduler.current;
    const role = this.#roles[parent] ?? this.#first;
    const birth = (this.#births[parent] ?? 0) + 1;
    this.#births[parent] = birth;
    this.#enter(thread, this.#child(role, birth - 1));
    const rest = (this.#left[parent] ?? 1) - (this.#left[thread] ?? 1);
    this.#left[parent] = Math.max(1, rest);
  }

  end(scheduler: Scheduler, ending: number): void {
    if (ending !== Ending.done && ending !== Ending.deadlock) return;
    for (const role of this.#all) role.performed = 0;
    for (let thread = 0; thread < this.#threads; thread++) {
      const role = this.#roles[thread];
      if (role !== undefined) role.performed = scheduler.performed[thread] ?? 0;
    }
    const isNewWindow = ++this.#runs % WINDOW === 0;
    let isNews = isNewWindow;
    for (const role of this.#all) {
      if (role.performed > role.most) {
        role.most = role.performed;
        isNews ||= role.most > role.mostBefore;
      }
      if (!isNewWindow) continue;
      role.mostBefore = role.most;
      role.most = 0;
    }
    if (isNews) this.#expect();
  }

  override learnt(): Learnt {
    return Object.fromEntries(this.#all.map((role) => [role.path, Math.max(role.most, role.mostBefore)]));
  }

  adopt(learnt: Learnt): void {
    for (const [path, operations] of Object.entries(learnt)) {
      let role = this.#first;
      for (const birth of path.split(".")) role = this.#child(role, Number(birth));
      role.most = operations;
    }
    this.#expect();
  }

  /** Threads that were there before the execution began, or were added by nobody in particular. */
  #meet(threads: number): void {
    while (this.#threads < threads) this.#enter(this.#threads, this.#child(this.#first, this.#threads));
  }

  #enter(thread: number, role: Role): void {
    if (this.#threads < thread) this.#meet(thread);
    this.#threads = thread + 1;
    this.#roles[thread] = role;
    this.#births[thread] = 0;
    this.#left[thread] = Math.max(1, role.expected);
  }

  #child(role: Role, birth: number): Role {
    while (role.children.length <= birth) {
      const index = String(role.children.length);
      const child = makeRole(role.path === "" ? index : `${role.path}.${index}`, role);
      role.children.push(child);
      this.#all.push(child);
    }
    const child = role.children[birth];
    if (child === undefined) throw new RangeError("a thread has no role");
    return child;
  }

  /** A role comes after its parent, so sums are complete from the end. */
  #expect(): void {
    for (const role of this.#all) role.expected = Math.max(role.most, role.mostBefore);
    for (const role of this.#all.toReversed()) {
      if (role.parent !== null) role.parent.expected += role.expected;
    }
  }
}

function makeRole(path: string, parent: Role | null): Role {
  return { path, parent, children: [], performed: 0, mostBefore: 0, most: 0, expected: 0 };
}
