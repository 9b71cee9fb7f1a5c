/** Pages of every type of the p2m, for tests. */
import type { DomainControl } from "../../src/hypervisor/domain-control.ts";
import { P2mType, p2mEntry } from "../../src/hypervisor/p2m-type.ts";

/** What a pager has of the pages that it took away, by gfn. */
export class Backing {
  readonly #pages = new Map<number, Int32Array>();
  readonly #toolstack: DomainControl;

  constructor(toolstack: DomainControl) {
    this.#toolstack = toolstack;
  }

  /** Takes a page away as a pager does: copied between its nomination and its eviction. */
  pageOut(gfn: number): boolean {
    const { types } = this.#toolstack;
    const words = new Int32Array(1024);
    if (!types.nominate(gfn) || !this.#toolstack.readPage(gfn, words, 0, words.length)) return false;
    if (!types.evict(gfn)) return false;
    this.#pages.set(gfn, words);
    return true;
  }

  /** Brings a page back, with what it held. */
  pageIn(gfn: number): boolean {
    const words = this.#pages.get(gfn) ?? new Int32Array(1024);
    return this.#toolstack.types.load(gfn, { words, at: 0, count: words.length });
  }

  /** Answers a request if there is one. */
  serve(): boolean {
    const gfn = this.#toolstack.types.request();
    return gfn >= 0 && this.pageIn(gfn);
  }
}

/** Gives a page of memory a type, in the steps that lead to it. */
export function giveType(toolstack: DomainControl, gfn: number, type: number): void {
  const { types, base } = toolstack;
  switch (type) {
    case P2mType.mmioDm:
      toolstack.removePage(gfn);
      break;
    case P2mType.mmioDirect:
      toolstack.removePage(gfn);
      types.mapDevice(gfn);
      break;
    case P2mType.populateOnDemand:
      types.populateOnDemand(gfn);
      break;
    case P2mType.pagingOut:
      types.nominate(gfn);
      break;
    case P2mType.paged:
      new Backing(toolstack).pageOut(gfn);
      break;
    case P2mType.pagingIn:
      // As a vCPU does that needs it.
      types.nominate(gfn);
      types.changes.retype(gfn, p2mEntry(base.p2m.ownFrameOf(gfn), P2mType.pagingOut), type);
      break;
    default:
      types.setType(gfn, type);
  }
}
