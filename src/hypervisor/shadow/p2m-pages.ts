/** Pages of the shadow pool that are lent to the p2m and to the tree of dirty pages (spec 12.4). */
import { DomainCell } from "../../memory/domain-area.ts";
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import type { NodePages } from "../dirty-tree.ts";
import { ShadowType } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

/** Lends pages. Callers hold the paging lock, and may be in the middle of a fault. */
export class P2mPages implements NodePages {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  canLend(pages: number): boolean {
    const { pool, domain } = this.#shadow;
    return domain.read(DomainCell.poolTotal) >= pool.leastTotal() + pages;
  }

  /** A zeroed page; 0 when the pool needs what it has. It may destroy shadows, if no reserve was made for it. */
  lendPage(): Mfn {
    const { pool, domain } = this.#shadow;
    if (!this.canLend(1)) return mfn(0);
    if (!pool.prealloc(ShadowType.dirty_tree, 1)) return mfn(0);
    const page = pool.alloc(ShadowType.dirty_tree, 1, 0);
    domain.increase(DomainCell.p2mPages, 1);
    domain.increase(DomainCell.poolTotal, -1);
    return page;
  }

  takeBack(page: Mfn): void {
    const { pool, domain } = this.#shadow;
    domain.increase(DomainCell.p2mPages, -1);
    domain.increase(DomainCell.poolTotal, 1);
    pool.free(page);
  }
}
