/** Two vCPUs that use pages of one level 1 table: the smallest work on which per-page locks can be wrong. */
import type { Loader } from "umbra";
import type { MachineConfig } from "../../src/hypervisor/machine-config.ts";
import { READ_ONLY, newSpace } from "./handmade.ts";

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
