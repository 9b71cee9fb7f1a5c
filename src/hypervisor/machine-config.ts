/** What a machine is made of, and which of the talk's optimisations it runs with. Plain data: it is sent to workers. */
import type { LockKind } from "../locks/gate.ts";
import { keysOf, recordOf } from "../memory/records.ts";

/** Every optimisation that can be switched, with what it does. Spec 17, and those that this model adds. */
export const SWITCHES = {
  "writable-heuristic":
    "guess where the guest maps its pagetables before scanning for writable mappings (spec 6.3)",
  "last-writable-hint": "remember the shadow in which the last writable mapping was found (spec 6.2)",
  "early-unshadow": "give up the shadows of a page after two zero writes in a row (spec 4.11)",
  "fast-fault-path": "magic entries: answer MMIO and not-present faults without the lock (spec 4.3, 4.4)",
  prefetch: "fill up to 31 entries behind a demand fault (spec 8)",
  "linux-l3-toplevel":
    "pin level 3 shadows for 64-bit kernels that switch by rewriting one L4 entry (spec 3.5)",
  "up-pointer": "remember one parent entry of a shadow, to excise it without a scan (spec 3.1)",
  pinning: "keep roots alive in a list of the most recently loaded (spec 3.4)",
  "out-of-sync":
    "let pages that are only level 1 tables be written freely, and bring their shadows up to date at the guest's flushes (spec 7)",
  "deferred-flush": "flush for a freed shadow page when it is used again, not when it is freed (spec 3.8)",
  "lock-free-walk":
    "walk the guest's tables without the lock, and look again if they may have changed (spec 4.6)",
  "unlocked-emulation":
    "translate for the emulator without the lock; only its store takes it (spec 4.9, 5.1)",
  "fast-emulate":
    "emulate a store to the page of the last one without the handler's walk and lock (spec 4.2)",
  "skip-verify": "leave shadows alone when an absent entry is stored over an absent one (spec 5.4)",
  "translation-cache":
    "remember what walks answered, for emulation and MMIO, until the guest flushes (spec 10.5)",
  "emulate-ahead":
    "execute up to four operations of a PAE guest behind an emulated store, for the other half (spec 5.6)",
  "pagetable-dying":
    "heed the guest's hint that a process is dying: unshadow its tables at the first zero (spec 4.11)",
} as const;

/** The name of a switch. */
export type SwitchName = keyof typeof SWITCHES;

/** Which switches are on. */
export type Switches = Readonly<Record<SwitchName, boolean>>;

/** The name of an era. */
export type PresetName = "talk-before" | "talk" | "xen-3.3" | "umbra";

/** All switch names. */
export const SWITCH_NAMES: readonly SwitchName[] = keysOf(SWITCHES);

/** What the talk says is done. A switch that came later is not here. */
const TALK: readonly SwitchName[] = [
  "writable-heuristic",
  "last-writable-hint",
  "early-unshadow",
  "fast-fault-path",
  "prefetch",
  "linux-l3-toplevel",
  "up-pointer",
  "pinning",
  "deferred-flush",
];

/** What Xen 3.3 added to it (spec 17, 18.2). */
const SINCE_TALK: readonly SwitchName[] = [
  "lock-free-walk",
  "unlocked-emulation",
  "fast-emulate",
  "skip-verify",
  "translation-cache",
  "emulate-ahead",
  "out-of-sync",
];

/** What Umbra adds to that. */
const SINCE_XEN_3_3: readonly SwitchName[] = ["pagetable-dying"];

function switchesOn(names: readonly SwitchName[]): Switches {
  return recordOf(SWITCH_NAMES, (name) => names.includes(name));
}

/** What of it measurements speak against: a pin for old 64-bit kernels costs those that came after (docs/features.md). */
const NOT_IN_UMBRA: SwitchName = "linux-l3-toplevel";

/**
 * The eras: the talk's performance slide compares `talk-before` (A) with `talk` (B); `xen-3.3` is what shipped in 2008,
 * `umbra` the best that was measured (docs/features.md).
 */
export const PRESETS: Readonly<Record<PresetName, Switches>> = {
  "talk-before": switchesOn([]),
  talk: switchesOn(TALK),
  "xen-3.3": switchesOn([...TALK, ...SINCE_TALK]),
  umbra: switchesOn([...TALK, ...SINCE_TALK, ...SINCE_XEN_3_3].filter((name) => name !== NOT_IN_UMBRA)),
};

/** Which store in a row lets a pagetable go out of sync in an era that has out-of-sync shadows: the first in Xen. */
export const PRESET_OUT_OF_SYNC_AFTER: Readonly<Record<PresetName, number>> = {
  "talk-before": 1,
  talk: 1,
  "xen-3.3": 1,
  umbra: 2,
};

/** Paging assistance: shadows of the guest's tables, or the guest's tables walked through those of the p2m. */
export type PagingMode = "shadow" | "hap";

/**
 * What the shadow lock is: one for the whole domain, as Xen has it, or one that is also held in part, beside locks of
 * single pages (docs/per-page-locks.md).
 */
export type Granularity = "domain" | "page";

/** The order in which freed frames and shadow pages are used again. */
export type ReuseOrder = "first-in-first-out" | "last-in-first-out";

/** A machine and its one domain. */
export interface MachineConfig {
  /** 1 to 1024. */
  readonly vcpus: number;
  /** Pages of guest memory. */
  readonly ramPages: number;
  readonly paging: PagingMode;
  /** Pages of the shadow pool; raised to the minimum of 128 a vCPU and more (spec 3.6). */
  readonly poolPages: number;
  /** Pages that `set_allocation` may raise the pool to. */
  readonly poolPagesMax: number;
  readonly lockKind: LockKind;
  /** `page` is shadow mode's, without `out-of-sync`. */
  readonly granularity: Granularity;
  readonly reuse: ReuseOrder;
  /** Sets of each TLB, a power of two. */
  readonly tlbSets: number;
  readonly tlbWays: number;
  /** Entries of each paging-structure cache, 0 for none. */
  readonly structureCacheEntries: number;
  readonly switches: Switches;
  /** With `out-of-sync`: which store to a pagetable in a row lets it go out of sync; demand paging begins a new row. */
  readonly outOfSyncAfter: number;
}

/** A config with everything that is not given at its default. */
export function machineConfig(
  given: Partial<MachineConfig> & Pick<MachineConfig, "vcpus" | "ramPages">,
): MachineConfig {
  const poolPages = Math.max(
    given.poolPages ?? 0,
    given.poolPages === undefined ? 1024 : 0,
    minimumPool(given),
  );
  return {
    paging: "shadow",
    lockKind: "test-and-set",
    granularity: "domain",
    reuse: "first-in-first-out",
    tlbSets: 64,
    tlbWays: 8,
    structureCacheEntries: 0,
    outOfSyncAfter: 1,
    switches: PRESETS.talk,
    ...given,
    poolPages,
    poolPagesMax: Math.max(given.poolPagesMax ?? 0, poolPages),
  };
}

/** Fewest pages that a pool may have (spec 3.6): one instruction may need many shadows at once. */
export function minimumPool(sizes: Pick<MachineConfig, "vcpus" | "ramPages">): number {
  return 128 * sizes.vcpus + Math.max(sizes.ramPages >>> 8, 6) + 1;
}
