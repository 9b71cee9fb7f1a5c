/** Several checks as one observer. */
import type { Failure } from "../program-world.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";

/** Checks that watch the same execution, in order. */
export class CheckList implements ExecutionCheck {
  readonly #checks: readonly ExecutionCheck[];

  constructor(checks: readonly ExecutionCheck[]) {
    this.#checks = checks;
  }

  begin(): void {
    for (const check of this.#checks) check.begin();
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    for (let index = 0; index < this.#checks.length; index++)
      this.#checks[index]?.beforeStep(scheduler, thread);
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    for (let index = 0; index < this.#checks.length; index++)
      this.#checks[index]?.afterStep(scheduler, thread);
  }

  end(ending: number): readonly Failure[] {
    return this.#checks.flatMap((check) => check.end(ending));
  }
}
