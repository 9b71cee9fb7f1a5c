/**
 * Places in the hypervisor that store to guest memory on somebody else's account, declared one by one: what they write is
 * the guest's own doing, like the operand of an emulated store.
 */

/** One such place. */
export interface GuestStore {
  /** Function with its class. */
  readonly within: string;
  readonly because: string;
}

/** Places that read guest memory without the paging lock, and what keeps the page in place meanwhile. */
export const GUEST_READS: readonly GuestStore[] = [
  {
    within: "DomainControl.readPage",
    because: "the toolstack maps a page of the guest: it cannot be taken away while the p2m lock is held",
  },
];

/** All of those that store. */
export const GUEST_STORES: readonly GuestStore[] = [
  {
    within: "ShadowPaging.deviceWrite",
    because: "a device writes to memory by DMA: any value, at the guest's request",
  },
  {
    within: "HapPaging.deviceWrite",
    because: "a device writes to memory by DMA: any value, at the guest's request",
  },
];
