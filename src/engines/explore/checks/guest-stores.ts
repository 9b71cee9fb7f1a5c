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

/** All of them. */
export const GUEST_STORES: readonly GuestStore[] = [
  {
    within: "ShadowPaging.deviceWrite",
    because: "a device writes to memory by DMA: any value, at the guest's request",
  },
];
