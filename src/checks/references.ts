/** How often frames are referred to by shadow entries: kept page by page, so that one page can be counted anew. */
import { frameOfEntry } from "../machine/entry.ts";
import { isMagic } from "../hypervisor/shadow/shadow-entry.ts";

const PRESENT = 1;
const WRITABLE = 2;
const ENTRIES = 512;
/** Kinds of reference, above the bits of a frame number. */
const UPPER = 1 << 28;
const WRITES = 1 << 29;
const FRAME = UPPER - 1;

/** Counts by frame. What names a frame that does not exist is not counted: other invariants find it. */
export class References {
  /** Leaves that map a frame, those of them that let it be written, and upper entries that point to it. */
  readonly leaves: Int32Array;
  readonly writable: Int32Array;
  readonly parents: Int32Array;
  /** What each page refers to, as it was counted. */
  readonly #counted: (Int32Array | undefined)[] = [];
  readonly #scratch = new Int32Array(ENTRIES);

  constructor(frames: number) {
    this.leaves = new Int32Array(frames);
    this.writable = new Int32Array(frames);
    this.parents = new Int32Array(frames);
  }

  /** Takes back what a page was counted with; adds the frames concerned to `due`. */
  drop(page: number, due: Set<number>): void {
    const counted = this.#counted[page];
    if (counted === undefined) return;
    this.#apply(counted, counted.length, -1, due);
    this.#counted[page] = undefined;
  }

  /** Counts a page of a shadow; adds the frames concerned to `due`. */
  take(words: Int32Array, page: number, step: number, isLeaf: boolean, due: Set<number>): void {
    const scratch = this.#scratch;
    let length = 0;
    for (let cell = page << 10; cell < (page + 1) << 10; cell += 2 * step) {
      const low = words[cell] ?? 0;
      if ((low & PRESENT) === 0) continue;
      const high = words[cell + 1] ?? 0;
      if (isLeaf && isMagic(low, high)) continue;
      const kind = isLeaf ? ((low & WRITABLE) === 0 ? 0 : WRITES) : UPPER;
      scratch[length++] = frameOfEntry(low, high) | kind;
    }
    if (length === 0) return;
    this.#apply(scratch, length, 1, due);
    this.#counted[page] = scratch.slice(0, length);
  }

  #apply(list: Int32Array, length: number, sign: number, due: Set<number>): void {
    for (let index = 0; index < length; index++) {
      const reference = list[index] ?? 0;
      const frame = reference & FRAME;
      if (frame >= this.leaves.length) continue;
      due.add(frame);
      if ((reference & UPPER) !== 0) this.parents[frame] = (this.parents[frame] ?? 0) + sign;
      else {
        this.leaves[frame] = (this.leaves[frame] ?? 0) + sign;
        if ((reference & WRITES) !== 0) this.writable[frame] = (this.writable[frame] ?? 0) + sign;
      }
    }
  }
}
