/**
 * The format of recorded guests: records of 40 bytes, little endian, in one total order over all CPUs.
 *
 * A record is u8 type, u8 cpu, u8 a, u8 b, u32 c, then four u64: x, y, z, w. A `ptpage` is followed by its page. What
 * the fields mean is said at each type; fields not named there are 0. Code holds a trace as int32 words, so this works
 * on little-endian hosts only, which is where everything that runs Node is.
 */

/** Types of record. The names are those of the recordings. */
export const RecordType = {
  /** First record: a version, c record size, x bytes of RAM, y CPUs. */
  start: 1,
  /**
   * MOV to a control register: a 0, 2, 3 or 4; x new value, y old. With b = 1 no write but the state of the CPU, given
   * for each right after `start` and right before `end`; CR2 appears only so.
   */
  cr: 2,
  /** WRMSR of EFER: x new value, y old. With b = 1 the state, and a the CPL. */
  efer: 3,
  /** INVLPG: x linear address, z CR3. */
  invlpg: 4,
  /** A page fault is delivered: x CR2, c error code, a CPL before, b EFLAGS.AC, y instruction pointer, z CR3. */
  pf: 5,
  /**
   * A walk succeeded: x linear, y physical address, a access (0 read, 1 write, 2 fetch), b bit 0 user-mode access,
   * bit 1 SMAP enforced, bits 2 and 3 CPL; c bits 0 to 7 rights granted, bits 8 and up log2 of the page size; z CR3.
   */
  fill: 6,
  /**
   * A walk set A or D: x physical address of the entry, b its size, a level, c bits set, y entry before, z after.
   * Comes before the `fill` or `pf` of the same walk.
   */
  ad: 7,
  /** Store to a tracked table: x physical address, a bytes, y value, z value before, w linear address; b bits 0, 1 CPL. */
  ptw: 8,
  /** A page is a table from now on: x its address, a level; its 4096 bytes follow. Always authoritative. */
  ptpage: 9,
  /** A page is not followed as a table any more: x its address, a why, b levels as a mask. */
  unpt: 10,
  /** Last record: x number of records before it. */
  end: 11,
} as const;

/** What a record's type is called, by number; "" where no type has it. */
export const RECORD_NAMES: readonly string[] = [
  "",
  "START",
  "CR",
  "EFER",
  "INVLPG",
  "PF",
  "FILL",
  "AD",
  "PTW",
  "PTPAGE",
  "UNPT",
  "END",
];

/** The version of the format that this is. */
export const TRACE_VERSION = 1;
/** Bytes of a record without what follows a `ptpage`. */
export const RECORD_BYTES = 40;
/** The same in int32 words. */
export const RECORD_WORDS = 10;

/** Accesses of a `fill`. */
export const FillAccess = { read: 0, write: 1, fetch: 2 } as const;

/** Rights granted by a `fill`. */
export const FillRight = { read: 1, write: 2, execute: 4 } as const;

/** What a CR0 write of INIT or reset stores; CR3, CR4 and EFER are 0 after it, without records of their own. */
export const RESET_CR0 = 0x6000_0010;

/** Bits of the `b` of a `fill`. */
const FILL_USER = 1;
const FILL_SMAP = 2;

/** Whether the access of a `fill` was a user-mode access. */
export function isUserFill(b: number): boolean {
  return (b & FILL_USER) !== 0;
}

/** Whether SMAP forbade the access of a `fill` to touch user pages. */
export function isSmapFill(b: number): boolean {
  return (b & FILL_SMAP) !== 0;
}

/** The CPL at which the access of a `fill` was made. */
export function cplOfFill(b: number): number {
  return (b >>> 2) & 3;
}
