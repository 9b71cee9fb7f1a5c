/**
 * Pagetables of a guest at rest, as a file holds them, and a walk over them of their own: what the shadows are compared
 * with must not come from the walker that made them.
 *
 * The file, little endian: "PGTS", u32 version 1, u32 levels, u32 n, n times {u32 gfn, u32 mask of levels}, n pages.
 */
import { readMaybePacked } from "../input-file.ts";
import { UsageError } from "../errors.ts";

const MAGIC = "PGTS";
const VERSION = 1;
const HEADER_BYTES = 16;
const INDEX_BYTES = 8;
const PAGE_BYTES = 4096;
const PAGES_MAX = 1 << 20;
/**
 * A CPU goes through a table as often as something points to it: once, as a rule, and once more a level where a kernel
 * maps its tables by a recursive slot. What goes through this many, and so many for each page, has no end.
 */
const WALKED_MAX = 4096;
const WALKED_MAX_PER_PAGE = 16;
const ENTRIES = 512;

const PRESENT = 1n;
const PAGE_SIZE = 0x80n;
const FRAME_SHIFT = 12n;
const ADDRESS_BITS = 0x000f_ffff_ffff_f000n;

/** Where a walk of an address ended. */
export interface RecordedWalk {
  /** Frames of the tables that it went through, PAE's level 3 left out: that is not shadowed. */
  readonly tables: readonly number[];
  /** Level of the entry that maps the page: 1, 2 or 3; 0 when nothing does. */
  readonly level: number;
}

/** The tables of one file. */
export class RecordedTables {
  readonly levels: number;
  readonly pages = new Map<number, Buffer>();
  readonly #file: string;
  #walked = 0;

  /** Reads a file. Throws UsageError when it is not one. */
  constructor(file: string) {
    this.#file = file;
    const bytes = readMaybePacked(file);
    if (bytes.length < HEADER_BYTES || bytes.toString("latin1", 0, 4) !== MAGIC) {
      throw new UsageError(`${file}: not a file of recorded tables, which begins with "${MAGIC}"`);
    }
    const field = (index: number): number => bytes.readUInt32LE(index * 4);
    if (field(1) !== VERSION)
      throw wrong(file, "version", `is ${field(1)}; the version understood here is 1`);
    this.levels = field(2);
    if (this.levels < 2 || this.levels > 4) throw wrong(file, "mode", `is ${this.levels}, not 2, 3 or 4`);
    const count = field(3);
    if (count > PAGES_MAX) throw wrong(file, "n", `says ${count} pages, more than ${PAGES_MAX}`);
    const size = HEADER_BYTES + count * (INDEX_BYTES + PAGE_BYTES);
    if (bytes.length !== size) {
      throw wrong(file, "n", `says ${count} pages, which makes ${size} bytes, but there are ${bytes.length}`);
    }
    const contents = HEADER_BYTES + count * INDEX_BYTES;
    for (let index = 0; index < count; index++) {
      const frame = bytes.readUInt32LE(HEADER_BYTES + index * INDEX_BYTES);
      if (this.pages.has(frame)) throw wrong(file, "gfn", `0x${frame.toString(16)} is there twice`);
      const start = contents + index * PAGE_BYTES;
      this.pages.set(frame, bytes.subarray(start, start + PAGE_BYTES));
    }
  }

  /** Walks an address from the root that CR3 names. */
  walk(root: bigint, address: bigint, hasLargePages: boolean): RecordedWalk {
    if (this.levels === 3) return this.#walkPae(root, address);
    return this.#descend(this.levels, root & ADDRESS_BITS, address, hasLargePages, []);
  }

  /** Frames of the tables that PAE loads as roots, whether anything is walked through them or not. */
  paeRoots(root: bigint): number[] {
    if (this.levels !== 3) return [];
    return [0n, 1n, 2n, 3n].flatMap((slot) => {
      const entry = this.#paeEntry(root, slot);
      return (entry & PRESENT) === 0n ? [] : [frameOf(entry)];
    });
  }

  /**
   * The address of every leaf entry that a CPU with this CR3 reaches, in their order; 48 bits of it.
   *
   * @throws UsageError when tables that point to each other make this endless.
   */
  *leaves(root: bigint, hasLargePages: boolean): Generator<bigint> {
    this.#walked = 0;
    if (this.levels !== 3) {
      yield* this.#leavesBelow(this.levels, frameOf(root), 0n, hasLargePages);
      return;
    }
    for (let slot = 0n; slot < 4n; slot++) {
      const entry = this.#paeEntry(root, slot);
      if ((entry & PRESENT) !== 0n) yield* this.#leavesBelow(2, frameOf(entry), slot << 30n, true);
    }
  }

  *#leavesBelow(level: number, frame: number, start: bigint, hasLargePages: boolean): Generator<bigint> {
    if (!this.pages.has(frame)) return;
    const most = WALKED_MAX + WALKED_MAX_PER_PAGE * this.pages.size;
    if (++this.#walked > most) {
      throw new UsageError(`${this.#file}: its tables point to each other, over ${most} times in all`);
    }
    const shift = this.#shiftOf(level);
    for (let index = 0n; index < (this.levels === 2 ? 2 * ENTRIES : ENTRIES); index++) {
      const address = start | (index << shift);
      const entry = this.#entry(frame, level, address);
      if ((entry & PRESENT) === 0n) continue;
      if (isLeaf(level, entry, hasLargePages)) yield address;
      else yield* this.#leavesBelow(level - 1, frameOf(entry), address, hasLargePages);
    }
  }

  #walkPae(root: bigint, address: bigint): RecordedWalk {
    const entry = this.#paeEntry(root, (address >> 30n) & 3n);
    if ((entry & PRESENT) === 0n) return { tables: [], level: 0 };
    return this.#descend(2, entry & ADDRESS_BITS, address, true, []);
  }

  #paeEntry(root: bigint, slot: bigint): bigint {
    const page = this.pages.get(Number((root & 0xffff_ffffn) >> FRAME_SHIFT));
    return page?.readBigUInt64LE(Number((root & 0xfe0n) + slot * 8n)) ?? 0n;
  }

  #descend(
    level: number,
    table: bigint,
    address: bigint,
    hasLargePages: boolean,
    above: readonly number[],
  ): RecordedWalk {
    const frame = frameOf(table);
    const tables = [...above, frame];
    const entry = this.#entry(frame, level, address);
    if ((entry & PRESENT) === 0n) return { tables, level: 0 };
    if (isLeaf(level, entry, hasLargePages)) return { tables, level };
    return this.#descend(level - 1, entry & ADDRESS_BITS, address, hasLargePages, tables);
  }

  #entry(frame: number, level: number, address: bigint): bigint {
    const page = this.pages.get(frame);
    if (page === undefined) return 0n;
    const slot = address >> this.#shiftOf(level);
    if (this.levels === 2) return BigInt(page.readUInt32LE(Number(slot & 1023n) * 4));
    return page.readBigUInt64LE(Number(slot & 511n) * 8);
  }

  /** Log2 of the bytes that an entry of a level maps. */
  #shiftOf(level: number): bigint {
    return this.levels === 2 ? BigInt(2 + 10 * level) : BigInt(3 + 9 * level);
  }
}

/** Whether a present entry maps a page. */
function isLeaf(level: number, entry: bigint, hasLargePages: boolean): boolean {
  const canBeLarge = level === 3 || (level === 2 && hasLargePages);
  return level === 1 || (canBeLarge && (entry & PAGE_SIZE) !== 0n);
}

function frameOf(entry: bigint): number {
  return Number((entry & ADDRESS_BITS) >> FRAME_SHIFT);
}

function wrong(file: string, field: string, reason: string): UsageError {
  return new UsageError(`${file}: field "${field}" ${reason}`);
}
