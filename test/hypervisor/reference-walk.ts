/**
 * What the manual says of a guest's accesses, for the property that holds shadow mode against it: flat memory, bigints,
 * one function that walks. Nothing here knows that there are shadows.
 */
import { Bit, entryBytes, slotOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";

/** Guest memory as an array, and which of its pages exist. */
export class FlatMemory {
  readonly pages: number;
  readonly present: boolean[];
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly #view: DataView;

  constructor(pages: number) {
    this.pages = pages;
    this.present = Array<boolean>(pages).fill(true);
    this.bytes = new Uint8Array(pages * 4096);
    this.words = new Int32Array(this.bytes.buffer);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Whether a gfn is memory; others are devices. */
  has(gfn: number): boolean {
    return this.present[gfn] ?? false;
  }

  readEntry(at: number, size: number): bigint {
    return size === 4 ? BigInt(this.#view.getUint32(at, true)) : this.#view.getBigUint64(at, true);
  }

  writeEntry(at: number, size: number, value: bigint): void {
    if (size === 4) this.#view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
    else this.#view.setBigUint64(at, value, true);
  }
}

/** What a walk depends on, besides memory. */
export interface WalkRegisters {
  /** 0 with paging off. */
  readonly levels: GuestLevels | 0;
  readonly root: number;
  readonly pdptes: readonly bigint[];
  readonly wp: boolean;
  readonly pse: boolean;
  readonly nxe: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
}

/** One access of one page. */
export interface Asked {
  readonly write: boolean;
  readonly fetch: boolean;
  readonly user: boolean;
  /** A supervisor access that SMAP refuses whatever AC says. */
  readonly implicit: boolean;
  readonly alignmentCheck: boolean;
}

/** What came of a walk. */
export interface Walked {
  /** The page fault's error code, -1 when the access may go ahead. */
  readonly errorCode: number;
  /** The page that the access goes to. */
  readonly gfn: number;
  readonly writable: boolean;
  readonly user: boolean;
  readonly executable: boolean;
  /** Whether the levels above the 4 KiB leaf let user mode through. */
  readonly userAbove: boolean;
  /** Whether the leaf has D afterwards. */
  readonly dirty: boolean;
  /** Log2 of the page size. */
  readonly shift: number;
  /** Entries that get bits set, leaf first. */
  readonly marks: readonly Mark[];
}

export interface Mark {
  readonly at: number;
  readonly size: number;
  readonly bits: bigint;
}

const PHYSICAL_BITS = 40n;

/** Walks; changes nothing. */
export function walkFlat(
  memory: FlatMemory,
  registers: WalkRegisters,
  address: bigint,
  asked: Asked,
): Walked {
  const { levels } = registers;
  if (levels === 0) return identity(address);
  const refused = (faultBits: number): Walked => ({
    ...NOTHING,
    errorCode: faultBits | reported(levels, registers, asked),
  });
  const marks: Mark[] = [];
  let writable = true;
  let user = true;
  let executable = true;
  let table = registers.root;
  for (let level: number = levels; ; level--) {
    const isPdpte = levels === 3 && level === 3;
    if (!isPdpte && !memory.has(table)) return refused(0);
    const size = entryBytes(levels);
    const at = table * 4096 + slotOf(levels, level, address) * size;
    const entry = isPdpte
      ? (registers.pdptes[Number((address >> 30n) & 3n)] ?? 0n)
      : memory.readEntry(at, size);
    if ((entry & Bit.p) === 0n) return refused(0);
    const isLarge = level === 2 && (entry & Bit.ps) !== 0n && (levels !== 2 || registers.pse);
    if ((entry & reservedBits(levels, level, isLarge, registers.nxe)) !== 0n) return refused(9);
    const userAbove = isLarge ? user && (entry & Bit.u) !== 0n : user;
    if (!isPdpte) {
      writable &&= (entry & Bit.w) !== 0n;
      user &&= (entry & Bit.u) !== 0n;
      executable &&= levels === 2 || (entry & Bit.nx) === 0n;
    }
    if (level === 1 || isLarge) {
      if (!permits(registers, asked, { writable, user, executable })) return refused(1);
      marks.push({ at, size, bits: asked.write ? Bit.a | Bit.d : Bit.a });
      const shift = isLarge ? (levels === 2 ? 22 : 21) : 12;
      const dirty = asked.write || (entry & Bit.d) !== 0n;
      const gfn = pageOf(entry, shift, address);
      return {
        errorCode: -1,
        gfn,
        writable,
        user,
        executable,
        userAbove,
        dirty,
        shift,
        marks: marks.toReversed(),
      };
    }
    if (!isPdpte) marks.push({ at, size, bits: Bit.a });
    table = Number((entry >> 12n) & 0xfff_ffffn);
  }
}

const NOTHING: Omit<Walked, "errorCode"> = {
  gfn: -1,
  writable: false,
  user: false,
  executable: false,
  userAbove: false,
  dirty: false,
  shift: 12,
  marks: [],
};

function identity(address: bigint): Walked {
  return {
    errorCode: -1,
    gfn: Number(address >> 12n),
    writable: true,
    user: true,
    executable: true,
    userAbove: true,
    dirty: true,
    shift: 22,
    marks: [],
  };
}

/** The bits of an access that an error code repeats. */
function reported(levels: GuestLevels, registers: WalkRegisters, asked: Asked): number {
  const tellsFetches = registers.smep || (levels !== 2 && registers.nxe);
  return (asked.write ? 2 : 0) | (asked.user ? 4 : 0) | (asked.fetch && tellsFetches ? 16 : 0);
}

/** Bits that must be 0 in a present entry: MAXPHYADDR is 40, there are neither 1 GiB pages nor PSE-36. */
function reservedBits(levels: GuestLevels, level: number, isLarge: boolean, nxe: boolean): bigint {
  if (levels === 2) return isLarge ? bits(13n, 21n) : 0n;
  if (levels === 3 && level === 3)
    return Bit.w | Bit.u | Bit.a | Bit.d | Bit.ps | Bit.g | bits(PHYSICAL_BITS, 63n);
  let reserved = bits(PHYSICAL_BITS, levels === 3 ? 62n : 51n);
  if (!nxe) reserved |= Bit.nx;
  if (level > 2) reserved |= Bit.ps;
  if (isLarge) reserved |= bits(13n, 20n);
  return reserved;
}

function bits(from: bigint, to: bigint): bigint {
  return (1n << (to + 1n)) - (1n << from);
}

function pageOf(entry: bigint, shift: number, address: bigint): number {
  const within = (1n << BigInt(shift)) - 4096n;
  const base = entry & 0xff_ffff_f000n & ~within;
  return Number((base | (address & within)) >> 12n);
}

function permits(
  registers: WalkRegisters,
  asked: Asked,
  page: { readonly writable: boolean; readonly user: boolean; readonly executable: boolean },
): boolean {
  if (asked.fetch && !page.executable) return false;
  if (asked.user) return page.user && (page.writable || !asked.write);
  if (asked.fetch) return !(page.user && registers.smep);
  if (page.user && registers.smap && (asked.implicit || !asked.alignmentCheck)) return false;
  return page.writable || !asked.write || !registers.wp;
}
