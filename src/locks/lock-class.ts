/**
 * The locks of a machine as data: their order, who may take one twice, and the places that take them.
 *
 * Ranks are those of Xen's mm-locks.h (spec 14.1). The heap lock is Umbra's own: it guards the machine's free frames
 * and is a leaf, so its rank is above all others. Those of per-page locks (docs/per-page-locks.md) lie between. Recursion
 * is legal only where spec 14.3 says so.
 */
import { LOCK_NAMES } from "../memory/layout.ts";

/** The name of a lock. */
export type LockName = (typeof LOCK_NAMES)[number];

/** Places that take locks: the name by which the holder of a lock is known. 0 stands for no place. */
export const LockSite = {
  page_fault: 1,
  update_cr3: 2,
  update_paging_modes: 3,
  invlpg: 4,
  remove_shadows: 5,
  remove_all_mappings: 6,
  p2m_write: 7,
  set_allocation: 8,
  device_modified: 9,
  domain_init: 10,
  domain_teardown: 11,
  vcpu_init: 12,
  vcpu_teardown: 13,
  heap_alloc: 14,
  heap_free: 15,
  audit: 16,
  test: 17,
  emulate_write: 18,
  fast_path: 19,
  log_dirty: 20,
  domctl: 21,
  nested_fault: 22,
  pagetable_dying: 23,
  get_mapping: 24,
  put_mapping: 25,
} as const;

/** The name of a place that takes locks. */
export type LockSiteName = keyof typeof LockSite;

/** What is declared of a lock. */
export interface LockClass {
  readonly name: LockName;
  /** Position in `LOCK_NAMES`, so also of the lock's area. */
  readonly index: number;
  /** A lock is taken only while every lock held has a lower rank. */
  readonly rank: number;
  /** Places that may take the lock while their vCPU already holds it. */
  readonly recursesAt: readonly LockSiteName[];
}

const DECLARATIONS: Readonly<Record<LockName, Pick<LockClass, "rank" | "recursesAt">>> = {
  p2m: { rank: 16, recursesAt: [] },
  paging: {
    rank: 64,
    recursesAt: [
      "remove_shadows",
      "remove_all_mappings",
      "update_cr3",
      "p2m_write",
      "emulate_write",
      "log_dirty",
    ],
  },
  // Whoever holds a part does not take the whole, nor the other way round: of one rank, neither comes after the other.
  "paging in part": { rank: 64, recursesAt: [] },
  table: { rank: 66, recursesAt: [] },
  frame: { rank: 68, recursesAt: [] },
  heap: { rank: 72, recursesAt: [] },
};

/** Every lock, in the order of `LOCK_NAMES`. */
export const LOCK_CLASSES: readonly LockClass[] = LOCK_NAMES.map((name, index) => {
  const { rank, recursesAt } = DECLARATIONS[name];
  return { name, index, rank, recursesAt };
});

const SITE_NAMES = new Map<number, string>(Object.entries(LockSite).map(([name, id]) => [id, name]));

/** The name of a place that takes locks; what is no such place is named by its number. */
export function lockSiteName(id: number): string {
  return SITE_NAMES.get(id) ?? (id === 0 ? "a place unknown" : `site ${String(id)}`);
}

/** Whether a machine has many locks of a kind, one for a vCPU or a page, and those only with page granularity. */
export function isOneOfMany(index: number): boolean {
  const name = LOCK_NAMES[index];
  return name === "paging in part" || name === "table" || name === "frame";
}

/** Whether a machine with that granularity of the shadow lock has locks of a kind. */
export function isUsed(index: number, granularity: "domain" | "page"): boolean {
  return granularity === "page" || !isOneOfMany(index);
}

/** A lock in a sentence: "the p2m lock". */
export function lockPhrase(index: number): string {
  const name = LOCK_NAMES[index] ?? "unknown";
  if (name === "paging in part") return "a part of the paging lock";
  return name === "table" || name === "frame" ? `a ${name} lock` : `the ${name} lock`;
}

/** What is declared of the lock with this index. Throws RangeError when there is none. */
export function lockClassOf(index: number): LockClass {
  const found = LOCK_CLASSES[index];
  if (found === undefined) throw new RangeError(`there is no lock ${String(index)}`);
  return found;
}
