/**
 * The order in which locks are taken, by class (lockdep; concurrency 3.11). An edge says that some thread wanted the second
 * lock while it held the first. A cycle is a deadlock that some schedule can reach, found without reaching it. The graph
 * lives as long as the exploration: each half of a cycle may come from another execution.
 */

/** One lock wanted while others were held. */
export interface LockChain {
  readonly thread: number;
  /** Classes held, outermost first, each with the place that took it. */
  readonly held: readonly HeldLock[];
  readonly wanted: HeldLock;
}

/** A lock and the place that takes it. */
export interface HeldLock {
  readonly lock: number;
  readonly place: string;
}

/** Collects chains and answers with the cycles that a new one closes. */
export class LockGraph {
  /** First chain seen for each edge, by the class held and the class wanted. */
  readonly #edges = new Map<number, Map<number, LockChain>>();

  /** A thread wants a lock. The chains of a cycle that this closes, the new one first; undefined when there is none. */
  want(chain: LockChain): readonly LockChain[] | undefined {
    const { held, wanted } = chain;
    if (held.some(({ lock }) => lock === wanted.lock)) return [chain];
    for (const { lock } of held) {
      const edges = this.#edges.get(lock) ?? new Map<number, LockChain>();
      this.#edges.set(lock, edges);
      if (edges.has(wanted.lock)) continue;
      edges.set(wanted.lock, chain);
      const back = this.#path(wanted.lock, lock, new Set());
      if (back === undefined) continue;
      const cycle = [chain, ...back];
      if (!hasGate(cycle)) return cycle;
    }
    return undefined;
  }

  /** The chains that lead from one class to another. */
  #path(from: number, to: number, seen: Set<number>): LockChain[] | undefined {
    seen.add(from);
    for (const [next, chain] of this.#edges.get(from) ?? []) {
      if (next === to) return [chain];
      if (seen.has(next)) continue;
      const rest = this.#path(next, to, seen);
      if (rest !== undefined) return [chain, ...rest];
    }
    return undefined;
  }
}

/** Whether a lock outside of the cycle is held in all of it: then its parts cannot meet. */
function hasGate(cycle: readonly LockChain[]): boolean {
  const wanted = new Set(cycle.map((chain) => chain.wanted.lock));
  const [first] = cycle;
  return (first?.held ?? []).some(
    ({ lock }) => !wanted.has(lock) && cycle.every(({ held }) => held.some((each) => each.lock === lock)),
  );
}
