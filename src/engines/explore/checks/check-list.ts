/** Several checks as one observer. */
import type { Failure } from "../program-world.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";

/** Most checks of a list: one for each call below. */
const CHECKS_MAX = 6;

/** In the place of a check that a list does not have. */
const NO_CHECK: ExecutionCheck = {
  begin() {},
  beforeStep() {},
  afterStep() {},
  end: () => [],
};

/**
 * Checks that watch the same execution, in order. Each is called at a place of its own: at one place in a loop, where
 * every check is of another class, looking the methods up cost more than most of them do.
 */
export class CheckList implements ExecutionCheck {
  readonly #checks: readonly ExecutionCheck[];
  readonly #first: ExecutionCheck;
  readonly #second: ExecutionCheck;
  readonly #third: ExecutionCheck;
  readonly #fourth: ExecutionCheck;
  readonly #fifth: ExecutionCheck;
  readonly #sixth: ExecutionCheck;

  /** Throws RangeError for more than six checks. */
  constructor(checks: readonly ExecutionCheck[]) {
    if (checks.length > CHECKS_MAX) throw new RangeError(`more than ${String(CHECKS_MAX)} checks`);
    this.#checks = checks;
    [
      this.#first = NO_CHECK,
      this.#second = NO_CHECK,
      this.#third = NO_CHECK,
      this.#fourth = NO_CHECK,
      this.#fifth = NO_CHECK,
      this.#sixth = NO_CHECK,
    ] = checks;
  }

  begin(): void {
    for (const check of this.#checks) check.begin();
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    this.#first.beforeStep(scheduler, thread);
    this.#second.beforeStep(scheduler, thread);
    this.#third.beforeStep(scheduler, thread);
    this.#fourth.beforeStep(scheduler, thread);
    this.#fifth.beforeStep(scheduler, thread);
    this.#sixth.beforeStep(scheduler, thread);
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    this.#first.afterStep(scheduler, thread);
    this.#second.afterStep(scheduler, thread);
    this.#third.afterStep(scheduler, thread);
    this.#fourth.afterStep(scheduler, thread);
    this.#fifth.afterStep(scheduler, thread);
    this.#sixth.afterStep(scheduler, thread);
  }

  end(ending: number): readonly Failure[] {
    return this.#checks.flatMap((check) => check.end(ending));
  }
}
