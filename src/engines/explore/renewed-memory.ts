/** Memory that is made again what it was before each execution, at the price of what was written since. */

const GRANULE_SHIFT = 4;
const GRANULE = 1 << GRANULE_SHIFT;

/** The memory of the program under test, with what it held in the beginning. */
export class RenewedMemory {
  view: Int32Array = new Int32Array(0);
  #initial = new Int32Array(0);
  /** Of each granule, whether it may differ from what it was; and a list of those that may. */
  #dirty = new Uint8Array(0);
  #dirtyList = new Int32Array(0);
  #dirtyCount = 0;

  /** Memory from now on: what it holds now is what each execution finds. */
  adopt(view: Int32Array): void {
    this.view = view;
    this.#initial = view.slice();
    const granules = Math.ceil(view.length / GRANULE);
    this.#dirty = new Uint8Array(granules);
    this.#dirtyList = new Int32Array(granules);
    this.#dirtyCount = 0;
  }

  /** Makes the memory as it was adopted again. */
  restore(): void {
    const { view } = this;
    const initial = this.#initial;
    for (let index = 0; index < this.#dirtyCount; index++) {
      const granule = this.#dirtyList[index] ?? 0;
      this.#dirty[granule] = 0;
      const from = granule << GRANULE_SHIFT;
      const to = Math.min(from + GRANULE, view.length);
      for (let at = from; at < to; at++) view[at] = initial[at] ?? 0;
    }
    this.#dirtyCount = 0;
  }

  /** A cell may be written. */
  mark(cell: number): void {
    const granule = cell >>> GRANULE_SHIFT;
    if (this.#dirty[granule] === 0) this.#markGranule(granule);
  }

  /** Cells may be written. */
  touch(cell: number, count: number): void {
    const last = (cell + count - 1) >>> GRANULE_SHIFT;
    for (let granule = cell >>> GRANULE_SHIFT; granule <= last; granule++)
      if (this.#dirty[granule] === 0) this.#markGranule(granule);
  }

  /** A number that two executions share if they left the same in memory, and otherwise hardly ever. */
  fingerprint(seed: number): number {
    const { view } = this;
    let hash = seed | 0;
    for (let index = 0; index < this.#dirtyCount; index++) {
      const from = (this.#dirtyList[index] ?? 0) << GRANULE_SHIFT;
      const to = Math.min(from + GRANULE, view.length);
      for (let at = from; at < to; at++) hash = (Math.imul(hash, 31) + (view[at] ?? 0)) | 0;
    }
    return hash;
  }

  /** The first cell that differs from what was adopted, -1 when none does. */
  leak(): number {
    const { view } = this;
    const initial = this.#initial;
    for (let at = 0; at < view.length; at++) if (view[at] !== initial[at]) return at;
    return -1;
  }

  #markGranule(granule: number): void {
    this.#dirty[granule] = 1;
    this.#dirtyList[this.#dirtyCount++] = granule;
  }
}
