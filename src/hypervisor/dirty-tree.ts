/**
 * The tree of dirty pages (spec 11.5): four levels, whose leaves are pages of bits, one for each gfn. Nodes are pages of
 * the pool, so that logging takes memory from the domain that is logged, and only for parts of it that are written.
 */
import type { SharedMemory } from "../memory/shared-memory.ts";
import { mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";

/** Levels of the tree, so most pages that one mark can need. */
export const DIRTY_TREE_LEVELS = 4;
/** Log2 of the pages that one leaf has bits for. */
const LEAF_SHIFT = 15;
/** Log2 of the children of a node. */
const NODE_SHIFT = 9;
const NODE_MASK = (1 << NODE_SHIFT) - 1;
const LEAF_WORDS = 1 << (LEAF_SHIFT - 5);

/** Where nodes come from. Both are called under the lock of the tree. */
export interface NodePages {
  /** Whether so many pages could be lent now. */
  canLend(pages: number): boolean;
  /** A page of zeros; 0 when none can be had. */
  lendPage(): Mfn;
  /** Takes a page back. */
  takeBack(page: Mfn): void;
}

/** Reads and writes trees, each named by its top node, 0 for the empty one. Callers hold the paging lock. */
export class DirtyTrees {
  readonly #memory: SharedMemory;
  readonly #pages: NodePages;
  readonly #lastGfn: number;

  /** For a guest of `ramPages` pages: no others are ever dirty. */
  constructor(memory: SharedMemory, pages: NodePages, ramPages: number) {
    this.#memory = memory;
    this.#pages = pages;
    this.#lastGfn = Math.max(ramPages - 1, 0);
  }

  /** Whether a page is dirty. */
  isSet(top: Mfn, gfn: number): boolean {
    const leaf = this.#leafOf(top, gfn);
    return leaf !== 0 && ((this.#memory.loadWord(wordOf(leaf, gfn)) >>> (gfn & 31)) & 1) !== 0;
  }

  /** The leaf with the bit of a page, made if need be; 0 when there is no memory. `top` is not 0. */
  makeLeaf(top: Mfn, gfn: number): Mfn {
    let node = top;
    for (let level = DIRTY_TREE_LEVELS; level > 1; level--) {
      const cell = childCell(node, level, gfn);
      let child = mfn(this.#memory.loadWord(cell));
      if (child === 0) {
        child = this.#pages.lendPage();
        if (child === 0) return child;
        this.#memory.storeWord(cell, child);
      }
      node = child;
    }
    return node;
  }

  /** Sets the bit of a page in its leaf; false if it was set. */
  setBit(leaf: Mfn, gfn: number): boolean {
    const cell = wordOf(leaf, gfn);
    const word = this.#memory.loadWord(cell);
    const bit = 1 << (gfn & 31);
    if ((word & bit) !== 0) return false;
    this.#memory.storeWord(cell, word | bit);
    return true;
  }

  /** Copies the words `from` up to `to` of the bits of all pages. */
  copyWords(top: Mfn, bitmap: Int32Array, from: number, to: number): void {
    let leaf = mfn(0);
    for (let word = from; word < to; word++) {
      const gfn = word * 32;
      if (word === from || (word & (LEAF_WORDS - 1)) === 0) leaf = this.#leafOf(top, gfn);
      bitmap[word] = leaf === 0 ? 0 : this.#memory.loadWord(wordOf(leaf, gfn));
    }
  }

  /** Gives the pages of a tree back. */
  release(top: Mfn): void {
    if (top !== 0) this.#releaseNode(top, DIRTY_TREE_LEVELS);
  }

  #releaseNode(node: Mfn, level: number): void {
    if (level > 1) {
      // Of a node there are as many children as gfns need: nearly all guests have but one at each level.
      const last = Math.min(this.#lastGfn >>> childShift(level), NODE_MASK);
      for (let index = 0; index <= last; index++) {
        const child = mfn(this.#memory.loadWord((node << 10) | index));
        if (child !== 0) this.#releaseNode(child, level - 1);
      }
    }
    this.#pages.takeBack(node);
  }

  #leafOf(top: Mfn, gfn: number): Mfn {
    let node = top;
    for (let level = DIRTY_TREE_LEVELS; level > 1 && node !== 0; level--)
      node = mfn(this.#memory.loadWord(childCell(node, level, gfn)));
    return node;
  }
}

/** Cell of the word with a page's bit. */
function wordOf(leaf: Mfn, gfn: number): number {
  return (leaf << 10) | ((gfn >>> 5) & (LEAF_WORDS - 1));
}

/** Cell of a node's link to the child for a page. Gfns have 28 bits, so the top node has but one child. */
function childCell(node: Mfn, level: number, gfn: number): number {
  return (node << 10) | ((gfn >>> childShift(level)) & NODE_MASK);
}

/** Log2 of the pages below a child of a node; those of the top node have more than there are gfns. */
function childShift(level: number): number {
  return Math.min(LEAF_SHIFT + (level - 2) * NODE_SHIFT, 31);
}
