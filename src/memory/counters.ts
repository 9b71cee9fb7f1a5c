/**
 * Counters, kept per vCPU in private cells, so that counting never contends. Names and meanings are those of Xen's
 * performance counters (spec 16) without the prefix `shadow_`, then those that Umbra adds for the machine and its guests.
 */
import { keysOf, recordOf } from "./records.ts";

/** What each counter counts. */
export const COUNTERS = {
  alloc: "shadow pages allocated",
  free: "shadow pages freed",
  alloc_tlbflush: "allocations that had to flush TLBs before a page could be reused",
  prealloc_1: "preallocations that recycled pinned roots",
  prealloc_2: "preallocations that unhooked roots in use",
  fault: "calls of the page-fault handler",
  fault_fast_gnp: "fast path: not-present entry, injected without a lock",
  fault_fast_mmio: "fast path: MMIO entry, emulated without a lock",
  fault_fast_fail: "fast path: the entry was no longer magic, retried",
  fault_bail_bad_gfn: "faults given to the guest because no memory backs the address",
  fault_bail_real_fault: "faults given to the guest because its own tables refuse the access",
  fault_emulate_write: "faults on a guest pagetable, emulated",
  fault_emulate_failed: "emulations that failed or came from user mode, and unshadowed",
  fault_emulate_wp: "supervisor writes emulated because CR0.WP is clear",
  fault_fast_emulate: "faults on the page of the last emulated store, emulated at once",
  fault_fast_emulate_fail: "of these, emulations that came to nothing",
  fault_mmio: "MMIO through the slow path",
  fault_cached_mmio: "MMIO at a cached translation, emulated without a walk or the lock",
  fault_fixed: "faults fixed in the shadows",
  validate_gl1e_calls: "level 1 entries revalidated",
  validate_gl2e_calls: "level 2 entries revalidated",
  validate_gl3e_calls: "level 3 entries revalidated",
  validate_gl4e_calls: "level 4 entries revalidated",
  hash_lookups: "lookups in the hash of shadows",
  hash_lookup_head: "lookups that hit at the head of a chain",
  hash_lookup_miss: "lookups that found nothing",
  hash_inserts: "insertions into the hash of shadows",
  hash_deletes: "deletions from the hash of shadows",
  get_shadow_status: "questions whether a page is shadowed as a type",
  writeable: "revocations of write access that were needed",
  writeable_h_1: "revocations by guess: Windows 32-bit linear map",
  writeable_h_2: "revocations by guess: Windows PAE linear map",
  writeable_h_3: "revocations by guess: Windows x64 linear map",
  writeable_h_4: "revocations by guess: Linux and Solaris direct maps",
  writeable_h_5: "revocations by the last-writable hint",
  writeable_h_6: "revocations by guess: FreeBSD maps",
  writeable_bf: "revocations by brute force",
  writeable_bf_1: "revocations by brute force that may fail",
  mappings: "removals of all mappings of a page",
  mappings_bf: "removals of all mappings by brute force",
  early_unshadow: "pages unshadowed early after two zero writes",
  unshadow: "calls to unshadow a page",
  up_pointer: "shadows excised through their upward link, the only reference",
  unshadow_bf: "shadows that needed a scan to be excised",
  get_page_fail: "page references refused for a leaf entry",
  guest_walk: "walks of guest tables by the hypervisor",
  check_gwalk: "walks re-checked after a revocation",
  inconsistent_gwalk: "re-checks that found a change",
  rm_write_flush_tlb: "flushes because a walk revoked write access",
  invlpg: "INVLPG intercepted",
  invlpg_fault: "INVLPG that met a vanished shadow",
  prefetch: "entries prefetched",
  up_pointer_set: "upward links recorded",
  write_validated: "emulated writes whose entries were validated",
  write_skipped: "emulated writes of an absent entry by another, not validated",
  translation_cache_hits: "walks of guest tables that the translation cache saved",
  translation_cache_misses: "walks for the emulator that it could not save",
  update_cr3: "root installations",
  update_paging_modes: "mode changes",
  blow_tables: "times that all shadows were thrown away",
  pin: "roots pinned or moved to the head of the pinned list",
  make_shadow: "shadows made",
  destroy_shadow: "shadows destroyed",
  p2m_writes: "p2m entries written",
  operations: "guest operations executed",
  tlb_hits: "accesses answered by the TLB",
  shadow_walks: "hardware walks of the shadow tables",
  structure_cache_hits: "hardware walks that began in the paging-structure cache",
  exits: "exits to the hypervisor",
  demand_faults: "page-fault exits",
  tlb_denials: "faults raised by a TLB entry that denies the access; the tables may grant it by now",
  injected: "page faults injected into the guest",
  emulated_stores: "guest stores executed by the emulator",
  instructions: "instructions of machine code executed by the vCPU itself",
  emulated_instructions: "instructions of machine code executed by the emulator",
  mmio: "MMIO accesses emulated",
  device_writes: "writes to guest memory by devices",
  device_modified: "writes by devices to pages that were shadowed",
  flush_requests: "flushes asked of another vCPU",
  flushes_served: "flushes served for another vCPU",
  local_flushes: "flushes of this vCPU's own TLB",
  interrupts: "interrupts taken from another vCPU",
  hypercalls: "hypercalls",
  halts: "HLT executed",
  dirty_marks: "pages that became dirty while writes are logged",
  dirty_marks_failed: "marks for which the pool had no page",
  harvests: "harvests of dirty pages",
  harvest_protected: "writable leaves that a harvest without a pause protected",
} as const;

/** The name of a counter. */
export type CounterName = keyof typeof COUNTERS;

/** All counter names, in the order of their cells. */
export const COUNTER_NAMES: readonly CounterName[] = keysOf(COUNTERS);

/** Words of one vCPU's counters: whole cache lines of 64 bytes, so that no two vCPUs write to one. */
export const COUNTER_WORDS = Math.ceil(COUNTER_NAMES.length / 16) * 16;

/** Index of every counter among a vCPU's counter cells. */
export const Counter: Readonly<Record<CounterName, number>> = recordOf(COUNTER_NAMES, (_, index) => index);
