/** A chain through lines of memory that no prefetcher foresees: each line's first word is the cell of the next one's. */
import type { SharedMemory } from "../../memory/shared-memory.ts";

const LINE_WORDS = 16;

/** Writes a chain through `lines` lines from a cell on, in an order by chance that is the same every time, in one circle. */
export function shuffledChain(memory: SharedMemory, lines: number, from = 0): void {
  const order = Int32Array.from({ length: lines }, (_, line) => line);
  let state = 1;
  for (let last = lines - 1; last > 0; last--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const other = (state >>> 0) % (last + 1);
    const line = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = line;
  }
  const cellOf = (place: number): number => from + (order[place] ?? 0) * LINE_WORDS;
  for (let place = 0; place < lines; place++) memory.storeWord(cellOf(place), cellOf((place + 1) % lines));
}
