/**
 * Error codes of page faults (Intel SDM vol. 3A, 4.7), which are also how an access is described to a walk: the bits
 * `write`, `user` and `fetch` are the same in both.
 */

/** Bits of a page fault's error code. */
export const FaultCode = {
  /** The translation existed: rights or reserved bits refused it. */
  present: 1,
  /** The access was a write. */
  write: 2,
  /** The access was a user-mode access. */
  user: 4,
  /** A reserved bit was set in some entry of the walk. */
  reserved: 8,
  /** The access was an instruction fetch. Reported only while XD or SMEP is enabled. */
  fetch: 16,
  /**
   * Synthetic, in access words only and never in an error code given to a guest: a supervisor access that the
   * processor makes of its own accord (to a descriptor table, for one). SMAP holds for it whatever EFLAGS.AC says
   * (Xen: PFEC_implicit; spec 0.3).
   */
  implicit: 1 << 18,
} as const;

/** The bits of an error code that hardware defines; synthetic bits lie above (spec 0.3). */
export const ARCHITECTURAL_FAULT_BITS = 0xffff;
