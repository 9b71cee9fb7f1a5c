/** Two vCPUs that use pages of one level 1 table: the smallest work on which per-page locks can be wrong. */
import type { Cpu, Loader } from "umbra";
import type { MachineConfig } from "../../src/hypervisor/machine-config.ts";
import { READ_ONLY, load, newSpace, storeEntryAt } from "./handmade.ts";

/** The talk's machine with per-page locks. */
export const PER_PAGE: Partial<MachineConfig> = { granularity: "page" };

/** A page that is mapped at every address of `PLACES`. */
export const PLACES: readonly number[] = [0x4000_0000, 0x4000_1000, 0x4000_2000, 0x4000_3000];

/** What the programs know. */
export interface Neighbours {
  readonly root: number;
  /** Where the entry for the first of `PLACES` is written. */
  readonly window: number;
}

/** One page, mapped at all places; their table is mapped for writing. */
export function bootNeighbours(loader: Loader): Neighbours {
  const space = newSpace(loader);
  const frame = space.page(PLACES[0] ?? 0);
  // Without D none is prefetched with write access, and each has a fault of its own.
  for (const place of PLACES) space.mapFrame(place, frame, READ_ONLY | 2);
  return { root: space.root, window: space.windowOn(PLACES[0] ?? 0, 1) };
}

/** A prologue: the table and its window have their shadows, and a place of the table has been used. */
export function useTable(cpu: Cpu, { root, window }: Neighbours, place: number): void {
  cpu.enablePaging(root);
  load(cpu, PLACES[place] ?? 0);
  load(cpu, window);
}

/** A program: uses the last place. */
export function touchLast(cpu: Cpu): void {
  load(cpu, PLACES[3] ?? 0);
}

/** A program: uses the first place. */
export function touchFirst(cpu: Cpu): void {
  load(cpu, PLACES[0] ?? 0);
}

/** A program: clears the table from its start, of which the second entry unshadows it. */
export function clear(cpu: Cpu, { window }: Neighbours): void {
  storeEntryAt(cpu, window, 0, 0);
  storeEntryAt(cpu, window + 8, 0, 0);
}
