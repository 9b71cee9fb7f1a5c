/**
 * The control cells of a vCPU: what other threads read or write of it. A cell on which somebody may sleep is a pair,
 * the value and behind it the number of sleepers (wait.ts).
 */
import { VCPU_WORDS } from "./layout.ts";
import type { CellGuard, Layout } from "./layout.ts";
import { cell } from "./units.ts";
import type { Cell, VcpuId } from "./units.ts";

/**
 * Offsets of a vCPU's control cells. Guard: atomic, except `roots`, `lastWritableShadow` and the monitor table,
 * which the paging lock guards, and `heartbeat`, `doing`, `lastEmulatedFrame` and the registers, which their vCPU alone
 * writes.
 */
export const VcpuCell = {
  /** Bits of `Doorbell`: what is asked of this vCPU. Polled before each guest operation. */
  doorbell: 0,
  /** Number of the last flush asked for; a wait pair. */
  flushRequested: 2,
  /** Number of the last flush served; a wait pair: requesters sleep here. */
  flushAcknowledged: 4,
  /** A `VcpuState`; a wait pair. */
  state: 6,
  /** TLB clock at this vCPU's last complete flush (spec 14.8). */
  tlbStamp: 8,
  /** Guest operations begun, modulo 2^32. The watchdog looks whether it moves. */
  heartbeat: 9,
  /** The cell on which this vCPU sleeps, 0 when it does not. */
  sleepsOn: 10,
  /** A `Doing`: what the vCPU was last seen at. */
  doing: 11,
  /** 1 + index of the lock that this vCPU waits for, 0 for none. */
  waitsForLock: 12,
  /** Interrupts from other vCPUs, pending: one bit a vector. */
  interrupts: 13,
  /** Guest control registers, as the guest sees them. */
  cr0: 16,
  cr2Low: 17,
  cr2High: 18,
  cr3Low: 19,
  cr3High: 20,
  cr4: 21,
  efer: 22,
  /** Levels of the guest's pagetables as the hypervisor runs them: 2, 3 or 4. */
  guestLevels: 23,
  /** 1 while the guest has paging on. */
  pagingOn: 24,
  /** Machine frame of the guest's root table, 0 when none. In hap only the identity table: CR3 is hardware's to follow. */
  guestTable: 25,
  /** The address of the last page-fault exit, for the watchdog. */
  addressLow: 26,
  addressHigh: 27,
  /** Frame of the last emulated write for early unshadow (spec 4.11), 0 when reset. */
  lastEmulatedFrame: 28,
  /** Shadow in which a writable mapping was last found (spec 6.2), 0 when none. */
  lastWritableShadow: 29,
  /** Hardware root: frame of the level 4 shadow, for 4-level shadows. */
  hardwareRoot: 30,
  /** Levels of the tables that hardware walks, 3 also for 2 and for none: 3 or 4; 0 before a root was installed. */
  shadowLevels: 31,
  /** Hardware PDPTEs: four 64-bit entries. */
  pdptes: 32,
  /** Snapshot of the guest's four level 3 entries, PAE (spec 9.2). */
  guestPdptes: 40,
  /** Shadow roots this vCPU holds references to: four frames, 0 for none. */
  roots: 48,
  /** The hypervisor's own table for this vCPU, and the levels it was made for (spec 1.6). */
  monitorTable: 52,
  monitorLevels: 53,
  /** 1 while the next store to the page of the last emulated one may be emulated at once (spec 4.2). */
  mayEmulateFast: 54,
  /** hap: machine frame of the top p2m table; 0 while hardware walks shadows, or before the vCPU is initialised. */
  nestedRoot: 55,
  /** 1 from the announcement that the process on this vCPU is dying to its next load of CR3. */
  pagetableDying: 56,
  /** 1 and the gfn of the page that this vCPU waits for, 0 for none: the pager looks for it. */
  wantedPage: 57,
  /** Number of the last stamp that this vCPU has begun to store, for the guest's memory oracle. Not part of the machine. */
  stampBegun: 64,
  /** Pages that this vCPU put out of sync: three frames, 0 for none (spec 7.2). */
  outOfSync: 65,
  /** Their snapshots: three pages of the pool, 0 before they were allocated. */
  snapshots: 68,
  /** For each of the three: which of two is replaced next, and the cells of two leaves that let the page be written. */
  fixups: 71,
  /** Registers of the integer unit: 36 words, the vCPU's own (machine/x86/registers.ts). */
  registers: 80,
} as const;

const ASKS = "a request is visible before its bell, and an acknowledgment after the flush";

/** Guards of the cells that are not for anybody to access at any time, and those by which vCPUs order what they do. */
export const VCPU_CELL_GUARDS: Readonly<Partial<Record<keyof typeof VcpuCell, CellGuard>>> = {
  doorbell: { guard: "atomic", publishes: true, because: ASKS },
  flushRequested: { guard: "atomic", publishes: true, because: ASKS },
  flushAcknowledged: { guard: "atomic", publishes: true, because: ASKS },
  state: { guard: "atomic", publishes: true, because: "one that is not running has acknowledged by that" },
  tlbStamp: { guard: "atomic", publishes: true, because: "a flush at one's own account is one acknowledged" },
  interrupts: { guard: "atomic", publishes: true, because: "the guest's own messages between vCPUs" },
  roots: { guard: "paging lock", because: "references to shadows are counted under the lock" },
  lastWritableShadow: { guard: "paging lock", because: "whoever frees the shadow clears it for all vCPUs" },
  monitorTable: { guard: "paging lock", because: "a page of the pool" },
  monitorLevels: { guard: "paging lock", because: "goes with the monitor table" },
  outOfSync: { guard: "paging lock", because: "any vCPU may resync the page" },
  snapshots: { guard: "paging lock", because: "pages of the pool, which go with the slots" },
  fixups: { guard: "paging lock", because: "writable mappings are made and revoked under the lock" },
  registers: { guard: "private", because: "a vCPU's instructions and its emulator run on its own thread" },
  pagetableDying: { guard: "paging lock", because: "goes with what early unshadow makes of a zero" },
  lastEmulatedFrame: {
    guard: "private",
    anybody: "accesses",
    because:
      "a hint for early unshadow that its own vCPU alone accesses, with the lock or on the lock-free path",
  },
};

/** Words of the cells that are more than one. */
export const VCPU_CELL_WORDS: Readonly<Partial<Record<keyof typeof VcpuCell, number>>> = {
  pdptes: 8,
  guestPdptes: 8,
  roots: 4,
  outOfSync: 3,
  snapshots: 3,
  fixups: 9,
  registers: 36,
};

/** Bits of the doorbell. */
export const Doorbell = { flush: 1, park: 2, stop: 4, interrupt: 8 } as const;

/** Whether a vCPU's TLB can be in use. Only a running vCPU must acknowledge flushes. */
export const VcpuState = { off: 0, running: 1, halted: 2, parked: 3, ended: 4 } as const;

/** What a vCPU was last seen at, for the watchdog's report. */
export const Doing = {
  guest: 0,
  pageFault: 1,
  writeCr: 2,
  invlpg: 3,
  hypercall: 4,
  flushWait: 5,
  lockWait: 6,
  parked: 7,
  halted: 8,
  gate: 9,
  scenarioWait: 10,
} as const;

/** First control cell of a vCPU. */
export function vcpuArea(layout: Layout, vcpu: VcpuId): Cell {
  return cell(layout.regions.vcpus.offset + vcpu * VCPU_WORDS);
}
