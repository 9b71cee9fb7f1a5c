/**
 * The table of every combination of bits: one address through a 4-level table, one case a line
 * `[flags, error code or -1, A/D bits after, loose]`. The header names the bits of `flags`.
 */
import { Rights } from "../machine/access-rights.ts";
import { EntryFlag, entryHigh, entryLow, isAccessed, isDirty } from "../machine/entry.ts";
import { FaultCode } from "../machine/fault-code.ts";
import { AccessedPolicy, WalkFormat, WalkMode, Walker } from "../machine/walker.ts";
import { SharedMemory } from "../memory/shared-memory.ts";
import { PAGE_WORDS } from "../memory/units.ts";
import type { ConformMismatch } from "../report/types.ts";
import { UsageError } from "./errors.ts";
import { integerField, isRecord, wrongField } from "./ndjson.ts";
import type { JsonLine } from "./ndjson.ts";

const FORMAT = "access-groundtruth-1";

/** The walk: tables in machine frames 4 to 1, and the pages that the last entry maps, small or large. */
const [ROOT, LEVEL3, LEVEL2, LEVEL1] = [4, 3, 2, 1];
const FRAMES = 5;
const PAGE = 0x12_0345;
const LARGE_PAGE = 0x12_0400;
/** Linear address 0x123400000000: slot 0x24 of the root, 0xd0 of level 3, 0 of the other two. */
const ADDRESS_HIGH = 0x1234;
const LEVEL4_CELL = cellOf(ROOT, 0x24);
const LEVEL3_CELL = cellOf(LEVEL3, 0xd0);
const PDE_CELL = cellOf(LEVEL2, 0);
const PTE_CELL = cellOf(LEVEL1, 0);

const TABLE_FLAGS = EntryFlag.present | EntryFlag.writable | EntryFlag.user;

const [PTE_A, PTE_D, PDE_A, PDE_D] = [1, 2, 4, 8];
const MODE = WalkMode.pse | WalkMode.pse36 | WalkMode.gigabyte;

/** What a named bit of `flags` does to the case. Names that are not here stand for things that Umbra has not. */
interface Effect {
  readonly pteLow?: number;
  readonly pteHigh?: number;
  readonly pdeLow?: number;
  readonly pdeHigh?: number;
  readonly pdpteReadOnly?: number;
  readonly access?: number;
  readonly mode?: number;
}

const EFFECTS: Readonly<Record<string, Effect>> = {
  "pte.rw": { pteLow: EntryFlag.writable },
  "pte.user": { pteLow: EntryFlag.user },
  "pte.a": { pteLow: EntryFlag.accessed },
  "pte.d": { pteLow: EntryFlag.dirty },
  "pte.nx": { pteHigh: EntryFlag.noExecute },
  "pte.p": { pteLow: EntryFlag.present },
  "pte.51": { pteHigh: 1 << 19 },
  "pde.rw": { pdeLow: EntryFlag.writable },
  "pde.user": { pdeLow: EntryFlag.user },
  "pde.a": { pdeLow: EntryFlag.accessed },
  "pde.d": { pdeLow: EntryFlag.dirty },
  "pde.pse": { pdeLow: EntryFlag.pageSize },
  "pde.nx": { pdeHigh: EntryFlag.noExecute },
  "pde.p": { pdeLow: EntryFlag.present },
  "pde.51": { pdeHigh: 1 << 19 },
  "pde.13": { pdeLow: 1 << 13 },
  "pdpte.ro": { pdpteReadOnly: EntryFlag.writable },
  user: { access: FaultCode.user },
  write: { access: FaultCode.write },
  fetch: { access: FaultCode.fetch },
  "efer.nx": { mode: WalkMode.nxe },
  "cr0.wp": { mode: WalkMode.wp },
  "cr4.smep": { mode: WalkMode.smep },
};

const NO_EFFECT: Effect = {};

/** Whether a file's first line is the header of such a table. */
export function isAccessHeader(value: unknown): value is Readonly<Record<string, unknown>> {
  return isRecord(value) && "format" in value && "bits" in value;
}

/** Checks cases one by one. */
export class AccessTable {
  readonly kind = "access";
  readonly #at: string;
  readonly #names: readonly string[];
  readonly #effects: readonly Effect[];
  readonly #cases: number;
  readonly #memory = SharedMemory.create(FRAMES * PAGE_WORDS);
  readonly #walker = new Walker(
    this.#memory,
    { frameOf: (frame) => (frame < FRAMES ? frame : -1), refusesMark: () => false },
    AccessedPolicy.asPassed,
  );
  /** Bits of `flags` that Umbra has no meaning for. */
  readonly #unknown: number;
  #access = 0;
  #mode = 0;
  #pteLow = 0;
  #pteHigh = 0;
  #pdeLow = 0;
  #pdeHigh = 0;

  constructor(at: string, header: Readonly<Record<string, unknown>>) {
    if (header["format"] !== FORMAT) throw wrongField(at, "format", `"${FORMAT}"`, header["format"]);
    integerField(at, header, "levels", 4, 4);
    integerField(at, header, "maxphyaddr", 40, 40);
    this.#at = at;
    this.#names = bitNames(at, header["bits"]);
    this.#effects = this.#names.map((name) => EFFECTS[name] ?? NO_EFFECT);
    this.#unknown = this.#effects.reduce(
      (bits, effect, bit) => (effect === NO_EFFECT ? bits | (1 << bit) : bits),
      0,
    );
    this.#cases = integerField(at, header, "cases", 1, Number.MAX_SAFE_INTEGER);
    this.#memory.storeEntry(LEVEL4_CELL, entryLow(LEVEL3, TABLE_FLAGS), 0);
  }

  /** Runs the case of a line. */
  check({ at, line, value }: JsonLine): ConformMismatch | undefined {
    if (!isCase(value, 2 ** this.#effects.length)) {
      throw new UsageError(`${at}: not a case, which is [flags, error code or -1, A/D bits 0 to 15, 0 or 1]`);
    }
    const [flags, expectedError, expectedBits, loose] = value;
    if ((flags & this.#unknown) !== 0) {
      throw new UsageError(
        `${at}: flags ${flags} set "${this.#namesOf(flags & this.#unknown)}", which Umbra has not`,
      );
    }
    this.#setUp(flags);
    const error = this.#run();
    const compared = this.#comparedBits(loose);
    const bits = this.#bitsAfter();
    if (error === expectedError && ((bits ^ expectedBits) & compared) === 0) return undefined;
    return {
      line,
      case: `flags ${flags}: ${this.#namesOf(flags)}`,
      expected: answerText(expectedError, expectedBits & compared),
      got: answerText(error, bits & compared),
      entries: `level 2 ${hexEntry(this.#pdeLow, this.#pdeHigh)}, level 1 ${hexEntry(this.#pteLow, this.#pteHigh)}`,
    };
  }

  /** Holds the number of cases against the header's. */
  finish(cases: number): void {
    if (cases === this.#cases) return;
    throw new UsageError(`${this.#at}: field "cases" says ${this.#cases}, but ${cases} follow`);
  }

  #setUp(flags: number): void {
    let readOnly = 0;
    this.#access = 0;
    this.#mode = MODE;
    this.#pteLow = entryLow(PAGE, 0);
    this.#pteHigh = entryHigh(PAGE);
    this.#pdeLow = 0;
    this.#pdeHigh = 0;
    for (let rest = flags; rest !== 0; rest &= rest - 1) {
      const effect = this.#effects[31 - Math.clz32(rest & -rest)] ?? NO_EFFECT;
      readOnly |= effect.pdpteReadOnly ?? 0;
      this.#access |= effect.access ?? 0;
      this.#mode |= effect.mode ?? 0;
      this.#pteLow |= effect.pteLow ?? 0;
      this.#pteHigh |= effect.pteHigh ?? 0;
      this.#pdeLow |= effect.pdeLow ?? 0;
      this.#pdeHigh |= effect.pdeHigh ?? 0;
    }
    const target = (this.#pdeLow & EntryFlag.pageSize) === 0 ? LEVEL1 : LARGE_PAGE;
    this.#pdeLow |= entryLow(target, 0);
    this.#pdeHigh |= entryHigh(target);
    this.#memory.storeEntry(LEVEL3_CELL, entryLow(LEVEL2, TABLE_FLAGS & ~readOnly), 0);
    this.#memory.storeEntry(PDE_CELL, this.#pdeLow, this.#pdeHigh);
    this.#memory.storeEntry(PTE_CELL, this.#pteLow, this.#pteHigh);
  }

  /** The error code, or -1. */
  #run(): number {
    const walker = this.#walker;
    if (!walker.walk(WalkFormat.fourLevel, 4, ROOT, Rights.all, 0, ADDRESS_HIGH, this.#access, this.#mode)) {
      return walker.errorCode;
    }
    return -1;
  }

  #hasLargePage(): boolean {
    return (this.#pdeLow & EntryFlag.pageSize) !== 0;
  }

  #bitsAfter(): number {
    const pde = this.#memory.loadEntry(PDE_CELL);
    const pte = this.#hasLargePage() ? 0 : this.#memory.loadEntry(PTE_CELL);
    return (
      (isAccessed(pte) ? PTE_A : 0) |
      (isDirty(pte) ? PTE_D : 0) |
      (isAccessed(pde) ? PDE_A : 0) |
      (isDirty(pde) ? PDE_D : 0)
    );
  }

  /**
   * The bits after the case that its answer says something of. A level 2 entry that leads to a level 1 table was not
   * set up anew for each case when the answers were recorded, so its D, which hardware ignores, says nothing.
   */
  #comparedBits(loose: number): number {
    let bits = PTE_A | PTE_D | PDE_A | PDE_D;
    if (!this.#hasLargePage()) bits &= ~PDE_D;
    if (loose === 1) bits &= ~PDE_A;
    return bits;
  }

  #namesOf(flags: number): string {
    return this.#names.filter((_, bit) => (flags & (1 << bit)) !== 0).join(" ");
  }
}

type Case = readonly [flags: number, error: number, bits: number, loose: number];

function isCase(value: unknown, flagsEnd: number): value is Case {
  if (!Array.isArray(value) || value.length !== 4 || !value.every(Number.isInteger)) return false;
  const [flags, error, bits, loose]: number[] = value;
  return (
    isWithin(flags, 0, flagsEnd - 1) &&
    isWithin(error, -1, 0xffff) &&
    isWithin(bits, 0, 15) &&
    isWithin(loose, 0, 1)
  );
}

function isWithin(value: number | undefined, low: number, high: number): boolean {
  return value !== undefined && value >= low && value <= high;
}

function bitNames(at: string, value: unknown): readonly string[] {
  const wanted = "a list of at most 31 names";
  if (!Array.isArray(value) || value.length > 31) throw wrongField(at, "bits", wanted, value);
  return value.map((each: unknown, index) => {
    if (typeof each !== "string") throw wrongField(at, `bits[${index}]`, "a name", each);
    return each;
  });
}

function answerText(error: number, bits: number): string {
  const names = ["pte.a", "pte.d", "pde.a", "pde.d"].filter((_, bit) => (bits & (1 << bit)) !== 0);
  const outcome = error < 0 ? "permitted" : `page fault, error code 0x${error.toString(16)}`;
  return `${outcome}; set after: ${names.length === 0 ? "none" : names.join(" ")}`;
}

function hexEntry(low: number, high: number): string {
  return `0x${(high >>> 0).toString(16)}${(low >>> 0).toString(16).padStart(8, "0")}`;
}

function cellOf(frame: number, slot: number): number {
  return frame * PAGE_WORDS + slot * 2;
}
