/** Pagetables of a guest in the three formats, written into its memory before it runs. Addresses and entries are bigints. */
import type { GuestMemory } from "../../src/hypervisor/guest-memory.ts";

/** Levels of a guest's tables. */
export type GuestLevels = 2 | 3 | 4;

/** Every format, for tests that hold in each. */
export const FORMATS: readonly GuestLevels[] = [2, 3, 4];

/** Bits of an entry. */
export const Bit = {
  p: 1n,
  w: 2n,
  u: 4n,
  a: 0x20n,
  d: 0x40n,
  ps: 0x80n,
  g: 0x100n,
  nx: 1n << 63n,
} as const;

/** What most leaves have: present, writable, used. */
export const KERNEL_PAGE = Bit.p | Bit.w | Bit.a | Bit.d;
export const USER_PAGE = KERNEL_PAGE | Bit.u;
/** Entries above the leaves grant everything, so that the leaf alone decides. */
const TABLE = Bit.p | Bit.w | Bit.u | Bit.a;

/** Bytes of an entry. */
export function entryBytes(levels: GuestLevels): number {
  return levels === 2 ? 4 : 8;
}

/** Bits of an address that index one table. */
function indexBits(levels: GuestLevels): number {
  return levels === 2 ? 10 : 9;
}

/** Pages of a large page. */
export function largePages(levels: GuestLevels): number {
  return levels === 2 ? 1024 : 512;
}

/** Where kernels of the format map all memory one to one. */
export function directBase(levels: GuestLevels): bigint {
  return levels === 4 ? 0xffff_8880_0000_0000n : 0xc000_0000n;
}

/** The slot of an address in a table of a level. */
export function slotOf(levels: GuestLevels, level: number, address: bigint): number {
  return Number(BigInt.asUintN(indexBits(levels), address >> BigInt(12 + indexBits(levels) * (level - 1))));
}

/** One tree of tables, and the frames that its tables may lie in. */
export class GuestTables {
  readonly levels: GuestLevels;
  /** Gfn of the root. A PAE root is at its start. */
  readonly root: number;
  readonly #ram: GuestMemory;
  readonly #takePage: () => number;

  constructor(ram: GuestMemory, levels: GuestLevels, takePage: () => number) {
    this.#ram = ram;
    this.levels = levels;
    this.#takePage = takePage;
    this.root = takePage();
    if (levels !== 3) return;
    // Real kernels fill all four: a PAE root cannot be changed without a load of CR3.
    for (let slot = 0; slot < 4; slot++)
      this.write(this.root * 4096 + slot * 8, this.#entry(takePage(), Bit.p));
  }

  /** What to load into CR3. */
  get cr3(): bigint {
    return BigInt(this.root) << 12n;
  }

  /** Maps a page, with the tables on the way. */
  map(address: bigint, gfn: number, flags: bigint): void {
    this.write(this.entryAt(address, 1), this.#entry(gfn, flags));
  }

  /** Maps a large page. */
  mapLarge(address: bigint, gfn: number, flags: bigint): void {
    this.write(this.entryAt(address, 2), this.#entry(gfn, flags | Bit.ps));
  }

  /** Links a table that exists below an entry of a level. */
  link(address: bigint, level: number, gfn: number): void {
    this.write(
      this.entryAt(address, level),
      this.#entry(gfn, this.levels === 3 && level === 3 ? Bit.p : TABLE),
    );
  }

  /** Guest physical address of the entry of a level for an address. Tables on the way are made. */
  entryAt(address: bigint, level: number): number {
    let table = this.root;
    for (let above = this.levels; above > level; above--) {
      const at = table * 4096 + slotOf(this.levels, above, address) * entryBytes(this.levels);
      if ((this.read(at) & Bit.p) === 0n)
        this.write(at, this.#entry(this.#takePage(), this.levels === 3 && above === 3 ? Bit.p : TABLE));
      table = gfnOf(this.read(at));
    }
    return table * 4096 + slotOf(this.levels, level, address) * entryBytes(this.levels);
  }

  /** Gfn of the table of a level that an address goes through. */
  tableAt(address: bigint, level: number): number {
    return Math.floor(this.entryAt(address, level) / 4096);
  }

  /** The entry at a guest physical address. */
  read(at: number): bigint {
    const low = BigInt.asUintN(32, BigInt(this.#ram.readWord(at)));
    if (this.levels === 2) return low;
    return low | (BigInt.asUintN(32, BigInt(this.#ram.readWord(at + 4))) << 32n);
  }

  /** Writes an entry as a boot loader does: not for a guest that runs. */
  write(at: number, entry: bigint): void {
    this.#ram.writeWord(at, Number(BigInt.asIntN(32, entry)));
    if (this.levels !== 2) this.#ram.writeWord(at + 4, Number(BigInt.asIntN(32, entry >> 32n)));
  }

  #entry(gfn: number, flags: bigint): bigint {
    return entryOf(gfn, this.levels === 2 ? flags & 0xfffn : flags);
  }
}

/** An entry for a frame. */
export function entryOf(gfn: number, flags: bigint): bigint {
  return (BigInt(gfn) << 12n) | flags;
}

/** The frame that an entry names. */
export function gfnOf(entry: bigint): number {
  return Number((entry >> 12n) & 0xfff_ffffn);
}
