/** Every place in rewritten code at which a shared access stands, by number. */
import type { Accessor } from "./accessors.ts";

/** A place in the source. */
export interface Site {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** The function that it stands in, with its class. */
  readonly within: string;
  /** Name of the accessor. */
  readonly name: string;
  readonly accessor: Accessor;
}

const CAPACITY = 1 << 14;

/** The sites of all modules that this thread has rewritten, in the order in which they were. */
export class SiteTable {
  /** `AccessKind` of each site. */
  readonly kinds = new Uint8Array(CAPACITY);
  /** Cells that an access at the site covers. */
  readonly spans = new Uint8Array(CAPACITY);
  readonly #plain = new Uint8Array(CAPACITY);
  readonly #sites: Site[] = [];

  /** Adds a site; returns its number. Throws RangeError when there are too many. */
  add(site: Site): number {
    const id = this.#sites.length;
    if (id === CAPACITY) throw new RangeError(`more than ${String(CAPACITY)} shared accesses in one program`);
    this.#sites.push(site);
    this.kinds[id] = site.accessor.kind;
    this.spans[id] = site.accessor.span;
    this.#plain[id] = site.accessor.mode === "guarded" ? 1 : 0;
    return id;
  }

  /** What is known of a site. Throws RangeError when there is none. */
  site(id: number): Site {
    const site = this.#sites[id];
    if (site === undefined) throw new RangeError(`there is no site ${String(id)}`);
    return site;
  }

  /** Whether accesses at a site are plain ones, which only a guard can order. */
  isPlain(id: number): boolean {
    return this.#plain[id] === 1;
  }

  /** Number of sites. */
  get size(): number {
    return this.#sites.length;
  }
}

/** The one table of this thread: modules are loaded once, and so are their sites. */
export const SITES: SiteTable = new SiteTable();
