/** How large a search tree is, judged from the part of it that was seen (Knuth 1975). */

/** The mean, over random descents, of the product of the branchings on the way: the leaves expected. */
export class TreeEstimate {
  #product = 1;
  #branchings = 0;
  #branchingsMost = 0;
  #sum = 0;
  #descents = 0;

  /** At a node of the descent, one of so many branches was taken at random. */
  branch(branches: number): void {
    this.#product *= branches;
    this.#branchings++;
  }

  /** The descent has come to a leaf. */
  leaf(): void {
    this.#sum += this.#product;
    this.#descents++;
    if (this.#branchings > this.#branchingsMost) this.#branchingsMost = this.#branchings;
    this.cut();
  }

  /** The descent is over, and says nothing more. */
  cut(): void {
    this.#product = 1;
    this.#branchings = 0;
  }

  /** Most nodes with several branches on the way to a leaf. */
  get branchingsMost(): number {
    return this.#branchingsMost;
  }

  /** Leaves of the whole tree, about; null before the first descent. */
  leaves(): number | null {
    return this.#descents === 0 ? null : this.#sum / this.#descents;
  }
}

/** What a systematic search has been through, from its stack: the share of each node's branches, in their order. */
export function searchedShare(nodes: Iterable<{ readonly done: number; readonly all: number }>): number {
  let share = 0;
  let weight = 1;
  for (const { done, all } of nodes) {
    share += (weight * done) / all;
    weight /= all;
  }
  return share;
}

/** A number of executions, in words. */
export function countOfExecutions(count: number): string {
  return `${String(count)} execution${count === 1 ? "" : "s"}`;
}
