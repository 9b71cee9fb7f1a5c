/** The optimisations in the order in which Xen got them (spec 18.1, 18.2), and what was published of their worth. */
import type { SwitchName } from "../../hypervisor/machine-config.ts";
import type { GuestFormat } from "../../guest/scenario.ts";

/** An optimisation, and the day of the commit that brought it. */
export interface Step {
  readonly name: SwitchName;
  readonly since: string;
}

/** Oldest first. Of `deferred-flush` no day is known: it is counted to the design's beginning. */
export const HISTORY: readonly Step[] = [
  { name: "up-pointer", since: "2006-08-16" },
  { name: "writable-heuristic", since: "2006-08-16" },
  { name: "early-unshadow", since: "2006-08-16" },
  { name: "deferred-flush", since: "2006-08-16" },
  { name: "last-writable-hint", since: "2006-10-17" },
  { name: "fast-fault-path", since: "2006-11-01" },
  { name: "prefetch", since: "2006-11-01" },
  { name: "pinning", since: "2006-11-23" },
  { name: "linux-l3-toplevel", since: "2006-11-23" },
  { name: "skip-verify", since: "2006-12-20" },
  { name: "emulate-ahead", since: "2007-06-01" },
  { name: "translation-cache", since: "2007-06-01" },
  { name: "unlocked-emulation", since: "2007-07-24" },
  { name: "fast-emulate", since: "2008-02-15" },
  { name: "lock-free-walk", since: "2008-02-28" },
  { name: "out-of-sync", since: "2008-06-20" },
  { name: "pagetable-dying", since: "2010-06-21" },
];

/** What the slide credits with most of the office benchmark's gain (spec 18.1, 2006-11-01). */
export const SLIDE: readonly SwitchName[] = ["fast-fault-path", "prefetch"];

/** One line of the published table: a build of the Windows Server 2003 DDK before and after out-of-sync shadows. */
export interface PublishedGain {
  readonly guest: GuestFormat;
  readonly vcpus: number;
  /** Part of the time that was saved. */
  readonly gain: number;
}

/** Third warm run, Core 2 6420 at 2.13 GHz (spec 18.2). */
export const PUBLISHED: readonly PublishedGain[] = [
  { guest: "2level", vcpus: 1, gain: 0.1498 },
  { guest: "pae", vcpus: 1, gain: 0.2543 },
  { guest: "4level", vcpus: 1, gain: 0.1947 },
  { guest: "2level", vcpus: 2, gain: 0.1185 },
  { guest: "pae", vcpus: 2, gain: 0.2024 },
  { guest: "4level", vcpus: 2, gain: 0.0735 },
];
