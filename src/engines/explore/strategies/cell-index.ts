/** Which events of an execution touched which cell, so that none of the others need be looked at. */

const NONE = -1;

/** What an operation touches: a run of cells, and one more unless it is -1. */
export interface Cells {
  readonly cell: number;
  readonly span: number;
  readonly other: number;
}

/** Events by the cells that they touched, in their order. */
export class CellIndex {
  readonly #events = new Map<number, number[]>();

  /** There are no events. */
  clear(): void {
    this.#events.clear();
  }

  /** Adds an event, which comes after all others. */
  add(event: number, { cell, span, other }: Cells): void {
    for (let at = cell; at < cell + span; at++) this.#addTo(at, event);
    if (other !== NONE) this.#addTo(other, event);
  }

  /**
   * Events that touched one of the cells, the last ones first; of each cell as far back as the first before which
   * nothing matters.
   */
  touching({ cell, span, other }: Cells, isLast: (event: number) => boolean): number[] {
    const found: number[] = [];
    for (let at = cell; at < cell + span; at++) this.#collect(at, isLast, found);
    if (other !== NONE) this.#collect(other, isLast, found);
    if (span === 1 && other === NONE) return found;
    return [...new Set(found)].toSorted((a, b) => b - a);
  }

  #addTo(cell: number, event: number): void {
    const events = this.#events.get(cell);
    if (events === undefined) this.#events.set(cell, [event]);
    else events.push(event);
  }

  #collect(cell: number, isLast: (event: number) => boolean, found: number[]): void {
    const events = this.#events.get(cell) ?? [];
    for (let index = events.length - 1; index >= 0; index--) {
      const event = events[index] ?? NONE;
      found.push(event);
      if (isLast(event)) return;
    }
  }
}
