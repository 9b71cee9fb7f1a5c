/**
 * What the hypervisor may do to an entry of the guest's tables on its own account: set A and D, nothing else. Only the
 * guest clears them (SDM vol. 3, 4.8), and what the guest stores meanwhile must not be undone.
 */
import { entryText } from "../hypervisor/describe-walk.ts";
import { hex } from "./hex.ts";

const ACCESSED = 32;
const DIRTY = 64;
const MARKS = ACCESSED | DIRTY;

/** Compares an entry before and after a write of the hypervisor. */
export class GuestEntries {
  readonly #words: Int32Array;
  #cell = -1;
  #span = 1;
  #low = 0;
  #high = 0;

  constructor(words: Int32Array) {
    this.#words = words;
  }

  /** A write to guest memory that is not the guest's own is about to happen. */
  before(cell: number, span: number): void {
    this.#cell = cell;
    this.#span = span;
    this.#low = this.#words[cell] ?? 0;
    this.#high = span === 1 ? 0 : (this.#words[cell + 1] ?? 0);
  }

  /** It has happened; a sentence when it was not allowed. */
  after(): string | undefined {
    const cell = this.#cell;
    if (cell < 0) return undefined;
    this.#cell = -1;
    const low = this.#words[cell] ?? 0;
    const high = this.#span === 1 ? 0 : (this.#words[cell + 1] ?? 0);
    const changed = low ^ this.#low;
    if ((changed & ~MARKS) === 0 && (changed & this.#low) === 0 && high === this.#high) return undefined;
    const what = (this.#low & ~low & MARKS) === 0 ? "changes" : "clears A or D of";
    return (
      `the hypervisor ${what} the guest's entry at cell ${hex(cell)}: ` +
      `${entryText(this.#low, this.#high)} becomes ${entryText(low, high)}`
    );
  }
}
