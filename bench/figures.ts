/** The table of figures: what is measured, and how large it may be. */
import type { Benchmark } from "./benchmark.ts";
import {
  CachedRoot,
  DemandFault,
  EmulatedStore,
  Invlpg,
  LockPair,
  Mmio,
  NotPresent,
  PrefetchedAccess,
  TlbHit,
} from "./benchmarks.ts";

/** A figure of the table: what is measured, and how large it may be; null where nothing is asked. */
export interface Figure {
  readonly name: string;
  readonly about: string;
  readonly target: number | null;
  readonly create: () => Benchmark;
}

/** All benchmarks of one vCPU, in the order of the table. */
export const FIGURES: readonly Figure[] = [
  {
    name: "TLB-hit access",
    about: "a 4-byte load",
    target: 4,
    create: () => new TlbHit(),
  },
  {
    name: "shadow demand fault",
    about: "a load whose leaf shadow entry is absent, to its retry",
    target: 150,
    create: () => new DemandFault(),
  },
  {
    name: "prefetched access",
    about: "the first load of a page that prefetch mapped",
    target: null,
    create: () => new PrefetchedAccess(),
  },
  {
    name: "not-present fast path",
    about: "a load to its injected fault",
    target: 40,
    create: () => new NotPresent(),
  },
  { name: "MMIO fast path", about: "a load that a device answers", target: null, create: () => new Mmio() },
  {
    name: "emulated pagetable store",
    about: "8 bytes into a shadowed level 1 table",
    target: 200,
    create: () => new EmulatedStore(),
  },
  {
    name: "MOV CR3 to a cached root",
    about: "two roots take turns",
    target: null,
    create: () => new CachedRoot(),
  },
  { name: "INVLPG", about: "of mapped pages", target: null, create: () => new Invlpg() },
  {
    name: "uncontended lock and unlock",
    about: "the paging lock",
    target: 5,
    create: () => new LockPair(),
  },
];
