/** Why nobody can go on, from what each thread waits for. */

/** What a thread waits for. `thread` is who could end it: the lock's owner, the vCPU that must flush, the one joined. */
export interface Wait {
  readonly thread: number;
  readonly on: "lock" | "flush" | "join" | "signal" | "cell" | "interrupt";
  /** Whom it waits for; -1 when it is nobody in particular. */
  readonly for: number;
  /** Number of the lock, if that is what it waits for on a machine. */
  readonly lock?: number;
  /** The lock or cell, as reports call it. */
  readonly name: string;
}

/** A verdict on threads that cannot go on. */
export interface Deadlock {
  readonly kind: "self-deadlock" | "cycle" | "orphan-lock" | "lost-wakeup" | "stuck";
  readonly message: string;
}

/**
 * Judges an execution in which nobody can go on; undefined if all who are left are idle: a vCPU in HLT waits for an
 * interrupt, and nothing says that one must come.
 */
export function judgeDeadlock(
  waits: readonly Wait[],
  isLive: (thread: number) => boolean,
  nameOf: (thread: number) => string,
): Deadlock | undefined {
  if (waits.every(({ on }) => on === "interrupt")) return undefined;
  const self = waits.find((wait) => wait.for === wait.thread);
  if (self !== undefined)
    return {
      kind: "self-deadlock",
      message: `${nameOf(self.thread)} waits for ${self.name}, which it has itself.`,
    };
  const cycle = findCycle(waits);
  if (cycle !== undefined) {
    const links = cycle.map(
      (wait) => `${nameOf(wait.thread)} waits for ${wait.name}, which is up to ${nameOf(wait.for)}`,
    );
    return { kind: "cycle", message: `${links.join("; ")}.` };
  }
  const orphan = waits.find((wait) => wait.on === "lock" && wait.for >= 0 && !isLive(wait.for));
  if (orphan !== undefined) {
    const message = `${nameOf(orphan.thread)} waits for ${orphan.name}, with which ${nameOf(orphan.for)} has ended.`;
    return { kind: "orphan-lock", message };
  }
  const lost = waits.filter(({ on }) => on === "signal" || on === "cell");
  const [first] = lost;
  if (first !== undefined) {
    const list = lost.map((wait) => `${nameOf(wait.thread)} on ${wait.name}`).join(", ");
    return { kind: "lost-wakeup", message: `Nobody is left to wake ${list}.` };
  }
  const list = waits.map((wait) => `${nameOf(wait.thread)} on ${wait.name}`).join(", ");
  return { kind: "stuck", message: `Nobody can go on: ${list}.` };
}

/** Threads each of which waits for the next, the last for the first. */
export function findCycle(waits: readonly Wait[]): readonly Wait[] | undefined {
  const byThread = new Map(waits.map((wait) => [wait.thread, wait]));
  for (const start of waits) {
    const path: Wait[] = [];
    let at: Wait | undefined = start;
    while (at !== undefined && !path.includes(at)) {
      path.push(at);
      at = at.for < 0 ? undefined : byThread.get(at.for);
    }
    if (at === start && path.length > 1) return path;
  }
  return undefined;
}
