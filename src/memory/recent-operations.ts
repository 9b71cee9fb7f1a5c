/** The last operations of each vCPU, in a ring that nobody reads until something went wrong. */
import { RECENT_ENTRIES, RECENT_ENTRY_WORDS } from "./layout.ts";
import type { Layout } from "./layout.ts";
import type { SharedMemory } from "./shared-memory.ts";

const WORDS = RECENT_ENTRIES * RECENT_ENTRY_WORDS;
const MASK = WORDS - 1;

/** One vCPU's ring. */
export class RecentOperations {
  readonly #words: Int32Array;
  #at = 0;
  #count = 0;

  constructor(memory: SharedMemory, layout: Layout, vcpu: number) {
    this.#words = memory.privateWords(layout.regions.recent.offset + vcpu * WORDS, WORDS);
  }

  /** Notes an operation, by a number of its vCPU's choice, and the linear address that it concerns. */
  note(what: number, low: number, high: number): void {
    const words = this.#words;
    const at = this.#at;
    this.#count = (this.#count + 1) | 0;
    words[at] = this.#count;
    words[at + 1] = what;
    words[at + 2] = low;
    words[at + 3] = high;
    this.#at = (at + RECENT_ENTRY_WORDS) & MASK;
  }
}

/** An operation as it was noted. */
export interface NotedOperation {
  readonly what: number;
  readonly low: number;
  readonly high: number;
}

/** The last operations of a vCPU that is at rest, oldest first. */
export function recentOperations(memory: SharedMemory, layout: Layout, vcpu: number): NotedOperation[] {
  const base = layout.regions.recent.offset + vcpu * WORDS;
  const noted: (NotedOperation & { readonly order: number })[] = [];
  for (let at = base; at < base + WORDS; at += RECENT_ENTRY_WORDS) {
    const order = memory.loadPrivate(at);
    if (order === 0) continue;
    const [what, low, high] = [
      memory.loadPrivate(at + 1),
      memory.loadPrivate(at + 2),
      memory.loadPrivate(at + 3),
    ];
    noted.push({ order, what, low, high });
  }
  return noted
    .toSorted((a, b) => (a.order - b.order) | 0)
    .map(({ what, low, high }) => ({ what, low, high }));
}
