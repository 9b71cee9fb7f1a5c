/** A user's program, executed again and again. */
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { registerCoroutines } from "../../coroutine/hook.ts";
import { UsageError } from "../../errors.ts";
import { UserRaceCheck } from "../checks/user-race-check.ts";
import type { Failure } from "../program-world.ts";
import { RAW } from "../raw-access.ts";
import { Ending, SCHEDULER } from "../scheduler.ts";
import type { ProgramTarget } from "../target.ts";
import type { World } from "../world.ts";
import { readInput } from "./input-text.ts";
import { PROGRAM_FAILURES, THREAD_NAMES, threadOf } from "./program-api.ts";
import { watchArrays } from "./watched-arrays.ts";
import { watchProxies } from "./watched-proxies.ts";

/** What a program's module exports by default. */
type Main = (input: unknown) => unknown;

/** The program of a module. */
export class UserWorld implements World {
  readonly name: string;
  readonly observer: UserRaceCheck;
  readonly #main: Main;
  #input: unknown;

  private constructor(name: string, main: Main) {
    this.name = name;
    this.#main = main;
    this.observer = new UserRaceCheck(this);
  }

  /** Loads a module as coroutines. Throws RefusedError or UsageError when it cannot be explored. */
  static async load(url: string): Promise<{ world: UserWorld; codeHash: string }> {
    RAW.isActive = true;
    watchArrays();
    watchProxies();
    const { colouring, address } = registerCoroutines([url], { isRaw: true });
    const module: unknown = await import(address(url));
    const main = typeof module === "object" && module !== null && "default" in module ? module.default : null;
    if (!isMain(main))
      throw new UsageError(`${shortName(url)}: exports no function by default: the program's main`);
    const hash = createHash("sha256");
    for (const { text } of colouring.modules.values()) hash.update(text);
    RAW.seal();
    return { world: new UserWorld(shortName(url), main), codeHash: hash.digest("hex").slice(0, 8) };
  }

  /** The input of a target, of which each execution is given a copy, and its bounds, from now on. */
  take({ input, hasSpuriousWakeups, pointsMax }: ProgramTarget): void {
    this.#input = readInput(input);
    SCHEDULER.pointsMax = pointsMax;
    RAW.hasSpuriousWakeups = hasSpuriousWakeups;
    RAW.accesses = 0;
    RAW.refused = undefined;
  }

  begin(): void {
    RAW.restore();
    SCHEDULER.begin();
    PROGRAM_FAILURES.length = 0;
    THREAD_NAMES.length = 0;
    THREAD_NAMES.push("main");
    this.observer.begin();
    RAW.isExecuting = true;
    const input = structuredClone(this.#input);
    SCHEDULER.add(threadOf(() => this.#main(input)));
  }

  end(ending: number): readonly Failure[] {
    RAW.isExecuting = false;
    // What was thrown while a call was entered is worth more than that it was not.
    if (ending !== Ending.stopped) RAW.checkCalls();
    if (RAW.accesses === 0 && ending === Ending.done)
      throw new UsageError(
        `${this.name}: has no shared access: elements of arrays on a SharedArrayBuffer, Atomics, or a lock`,
      );
    if (RAW.refused !== undefined) throw RAW.refused;
    return [...this.observer.end(), ...PROGRAM_FAILURES];
  }

  threadName(thread: number): string {
    return THREAD_NAMES[thread] ?? `thread ${String(thread)}`;
  }

  cellName(cell: number): string {
    return RAW.nameOf(cell);
  }
}

function isMain(value: unknown): value is Main {
  return typeof value === "function";
}

function shortName(url: string): string {
  const here = pathToFileURL("./").href;
  return url.startsWith(here) ? url.slice(here.length) : url.replace(/^file:\/\//, "");
}
