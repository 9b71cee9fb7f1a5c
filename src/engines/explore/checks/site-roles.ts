/** What part of the model a shared access belongs to: checks judge a vCPU's hardware by other rules than the hypervisor. */
import { SITES } from "../../coroutine/sites.ts";
import { GUEST_READS, GUEST_STORES } from "./guest-stores.ts";

/** Who makes the accesses of a site. */
export const SiteRole = {
  hypervisor: 0,
  /** The access that a guest's operation is about, by the vCPU itself or emulated. */
  operand: 1,
  /** A pagetable walk: hardware's, or under the paging lock the hypervisor's over the guest's tables. */
  walk: 2,
  /** Locks, flushes, waiting: how vCPUs get along. */
  coordination: 3,
  /** The hypervisor's copy of a page of the guest. */
  copy: 4,
} as const;

/** Without their endings, which differ between a clone and an installation. */
const FILES: readonly (readonly [part: string, role: number])[] = [
  ["/src/machine/physical-access.", SiteRole.operand],
  ["/src/machine/walker.", SiteRole.walk],
  ["/src/machine/hardware-walk.", SiteRole.walk],
  ["/src/machine/nested-walk.", SiteRole.walk],
  ["/src/machine/", SiteRole.coordination],
  ["/src/locks/", SiteRole.coordination],
  ["/src/memory/", SiteRole.coordination],
];

/** The role of each site, by number. Modules that are loaded later are seen at the next execution. */
export class SiteRoles {
  readonly #roles: number[] = [];
  readonly #guestStores = new Set<number>();

  /** Looks at sites that have come since. */
  refresh(): void {
    for (let id = this.#roles.length; id < SITES.size; id++) {
      const { file, within } = SITES.site(id);
      if (GUEST_STORES.some((each) => each.within === within)) this.#guestStores.add(id);
      if (GUEST_READS.some((each) => each.within === within)) this.#roles.push(SiteRole.copy);
      else this.#roles.push(FILES.find(([part]) => file.includes(part))?.[1] ?? SiteRole.hypervisor);
    }
  }

  /** Whether a site of the hypervisor stores to guest memory on somebody else's account. */
  isGuestStore(site: number): boolean {
    return this.#guestStores.has(site);
  }

  /** A `SiteRole`. */
  of(site: number): number {
    return this.#roles[site] ?? SiteRole.hypervisor;
  }
}
