/** The two ways in which a program ends other than by returning. Both are cold paths. */

/** The machine stopped in the middle of a guest operation: the run was broken off, or the domain destroyed. */
export class MachineStopped extends Error {
  constructor() {
    super("the machine stopped");
    this.name = "MachineStopped";
  }
}

/** The guest cannot go on; the reason has been reported as a violation. */
export class GuestPanic extends Error {
  constructor() {
    super("the guest panicked");
    this.name = "GuestPanic";
  }
}
