/**
 * Places in the hypervisor that store to guest memory on somebody else's account, declared one by one: what they write is
 * the guest's own doing, like the operand of an emulated store.
 */
import { SITES } from "../../coroutine/sites.ts";

interface GuestStore {
  /** Function with its class. */
  readonly within: string;
  readonly because: string;
}

const DECLARED: readonly GuestStore[] = [
  {
    within: "ShadowPaging.deviceWrite",
    because: "a device writes to memory by DMA: any value, at the guest's request",
  },
];

/** The declared places, as sites. */
export const GUEST_STORES = {
  /** Numbers of the sites at which such stores stand. */
  *sites(): Iterable<number> {
    for (let id = 0; id < SITES.size; id++) {
      const { within } = SITES.site(id);
      if (DECLARED.some((each) => each.within === within)) yield id;
    }
  },
};
