/** The table of random walks: one walk a line, with its own tables, registers and answer. */
import { Rights, permits } from "../machine/access-rights.ts";
import { FaultCode } from "../machine/fault-code.ts";
import { AccessedPolicy, WalkFormat, WalkMode, Walker } from "../machine/walker.ts";
import type { FrameMap } from "../machine/walker.ts";
import { SharedMemory } from "../memory/shared-memory.ts";
import { PAGE_WORDS } from "../memory/units.ts";
import type { ConformMismatch } from "../report/types.ts";
import { UsageError } from "./errors.ts";
import { hexField, hexList, integerField, isRecord, wrongField } from "./ndjson.ts";
import type { JsonLine } from "./ndjson.ts";

const CR0_WP = 1 << 16;
const CR4_PSE = 1 << 4;
const CR4_SMEP = 1 << 20;
const CR4_SMAP = 1 << 21;
const EFER_NXE = 1 << 11;

const FETCH_PROT = 4;
const LEVELS_MAX = 4;

/** A recorded walk. Entries and their addresses go from the top level down, and may go on below where it stopped. */
interface RecordedWalk {
  readonly levels: number;
  readonly access: number;
  readonly mode: number;
  readonly address: string;
  readonly root: string;
  readonly at: readonly string[];
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly answer: string;
}

/** Puts the tables of one walk, which lie anywhere in 40 bits of address, into a few machine frames. */
class ScatteredTables implements FrameMap {
  readonly #frames = new Int32Array(LEVELS_MAX);
  #count = 0;

  frameOf(frame: number): number {
    for (let index = 0; index < this.#count; index++) if (this.#frames[index] === frame) return index + 1;
    return -1;
  }

  refusesMark(): boolean {
    return false;
  }

  /** The machine frame for a frame that has a table, from now on. */
  place(frame: number): number {
    const placed = this.frameOf(frame);
    if (placed >= 0) return placed;
    this.#frames[this.#count] = frame;
    this.#count++;
    return this.#count;
  }

  clear(): void {
    this.#count = 0;
  }
}

/** Checks walks one by one. */
export class WalkTable {
  readonly kind = "walks";
  readonly #memory = SharedMemory.create((LEVELS_MAX + 1) * PAGE_WORDS);
  readonly #tables = new ScatteredTables();
  readonly #walker = new Walker(this.#memory, this.#tables, AccessedPolicy.asPassed);
  /** The cell of each entry, or of the PDPTE as a negative number: -1 - its index. */
  readonly #cells = new Int32Array(LEVELS_MAX);

  /** Runs the walk of a line. */
  check(line: JsonLine): ConformMismatch | undefined {
    const walk = readWalk(line);
    this.#place(line.at, walk);
    const answer = this.#answer(walk);
    const after = walk.before.map((_, index) => this.#entry(walk, index));
    this.#clear(walk);
    if (answer === walk.answer && after.every((entry, index) => entry === walk.after[index])) {
      return undefined;
    }
    return {
      line: line.line,
      case: describe(walk),
      expected: `${walk.answer}; entries after: ${walk.after.join(" ")}`,
      got: `${answer}; entries after: ${after.join(" ")}`,
      entries: walk.before.map((entry, index) => `${entry} at ${walk.at[index]}`).join(", "),
    };
  }

  /** A table of walks does not say how many it has. */
  finish(): void {}

  /** Writes the entries to where they are said to lie, so that the walker has to find them by itself. */
  #place(at: string, walk: RecordedWalk): void {
    const base = lowHalf(walk.root) & ~0x1f;
    for (const [index, address] of walk.at.entries()) {
      const [low, high] = [lowHalf(walk.before[index] ?? ""), highHalf(walk.before[index] ?? "")];
      if (index === 0 && walk.levels === WalkFormat.pae) {
        const slot = (lowHalf(address) - base) >> 3;
        if (slot < 0 || slot > 3)
          throw new UsageError(`${at}: field "at[0]" is not in the PDPT that CR3 names`);
        this.#walker.pdpteLow[slot] = low;
        this.#walker.pdpteHigh[slot] = high;
        this.#cells[index] = -1 - slot;
        continue;
      }
      const cell = (this.#tables.place(frameOfAddress(address)) << 10) | ((lowHalf(address) & 0xfff) >> 2);
      this.#cells[index] = cell;
      if (walk.levels === WalkFormat.twoLevel) this.#memory.storeWord(cell, low);
      else this.#memory.storeEntry(cell & ~1, low, high);
    }
  }

  #answer(walk: RecordedWalk): string {
    const { levels, access, mode } = walk;
    const walker = this.#walker;
    const [low, high] = [lowHalf(walk.address), highHalf(walk.address)];
    const root = frameOfAddress(walk.root);
    if (!walker.walk(levels, levels, root, Rights.all, low, high, access, mode)) {
      return faultAnswer(walker.errorCode);
    }
    const physical = walker.frame * 4096 + (low & 0xfff);
    const user = access & FaultCode.user;
    const canWrite =
      (walker.dirty === 1 || (access & FaultCode.write) !== 0) &&
      permits(walker.rights, user | FaultCode.write, mode);
    const prot =
      (permits(walker.rights, user, mode) ? 1 : 0) |
      (canWrite ? 2 : 0) |
      (permits(walker.rights, user | FaultCode.fetch, mode) ? FETCH_PROT : 0);
    return pageAnswer(physical.toString(16), walker.pageShift, prot);
  }

  /** An entry as the walk left it. */
  #entry(walk: RecordedWalk, index: number): string {
    const cell = this.#cells[index] ?? 0;
    if (cell < 0) return hexOf(this.#walker.pdpteLow[-1 - cell] ?? 0, this.#walker.pdpteHigh[-1 - cell] ?? 0);
    if (walk.levels === WalkFormat.twoLevel) return hexOf(this.#memory.loadWord(cell), 0);
    const low = this.#memory.loadEntry(cell & ~1);
    return hexOf(low, this.#memory.high);
  }

  /** Leaves the machine frames all zero for the next walk. */
  #clear(walk: RecordedWalk): void {
    for (let index = 0; index < walk.at.length; index++) {
      const cell = this.#cells[index] ?? 0;
      if (cell < 0) this.#walker.pdpteLow[-1 - cell] = this.#walker.pdpteHigh[-1 - cell] = 0;
      else if (walk.levels === WalkFormat.twoLevel) this.#memory.storeWord(cell, 0);
      else this.#memory.storeEntry(cell & ~1, 0, 0);
    }
    this.#tables.clear();
  }
}

const ACCESSES: Readonly<Record<string, number>> = { r: 0, w: FaultCode.write, x: FaultCode.fetch };

function readWalk({ at, value }: JsonLine): RecordedWalk {
  if (!isRecord(value)) throw new UsageError(`${at}: not a recorded walk, which is an object`);
  const levels = integerField(at, value, "m", 2, LEVELS_MAX);
  const kind = typeof value["acc"] === "string" ? ACCESSES[value["acc"]] : undefined;
  if (kind === undefined) throw wrongField(at, "acc", '"r", "w" or "x"', value["acc"]);
  const user = integerField(at, value, "user", 0, 1) === 1 ? FaultCode.user : 0;
  const addresses = hexList(at, value, "at");
  const before = hexList(at, value, "ent").map(plainHex);
  const after = hexList(at, value, "after").map(plainHex);
  if (addresses.length === 0 || addresses.length > levels) {
    throw wrongField(at, "at", `a list of 1 to ${levels} addresses`, addresses);
  }
  for (const [field, list] of Object.entries({ ent: before, after })) {
    if (list.length !== addresses.length) throw wrongField(at, field, 'as long as "at"', list);
  }
  return {
    levels,
    access: kind | user,
    mode: modeOf(at, value),
    address: hexField(at, value, "va"),
    root: hexField(at, value, "cr3"),
    at: addresses,
    before,
    after,
    answer: recordedAnswer(at, value),
  };
}

function modeOf(at: string, value: Readonly<Record<string, unknown>>): number {
  const cr0 = lowHalf(hexField(at, value, "cr0"));
  const cr4 = lowHalf(hexField(at, value, "cr4"));
  const efer = lowHalf(hexField(at, value, "efer"));
  return (
    WalkMode.pse36 |
    WalkMode.gigabyte |
    ((cr0 & CR0_WP) === 0 ? 0 : WalkMode.wp) |
    ((cr4 & CR4_PSE) === 0 ? 0 : WalkMode.pse) |
    ((cr4 & CR4_SMEP) === 0 ? 0 : WalkMode.smep) |
    ((cr4 & CR4_SMAP) === 0 ? 0 : WalkMode.smap) |
    ((efer & EFER_NXE) === 0 ? 0 : WalkMode.nxe) |
    (integerField(at, value, "ac", 0, 1) === 0 ? 0 : WalkMode.ac)
  );
}

function recordedAnswer(at: string, value: Readonly<Record<string, unknown>>): string {
  if ("err" in value) {
    integerField(at, value, "vec", 14, 14);
    return faultAnswer(integerField(at, value, "err", 0, 0xffff));
  }
  const physical = plainHex(hexField(at, value, "pa"));
  return pageAnswer(physical, integerField(at, value, "lg", 12, 30), integerField(at, value, "prot", 0, 7));
}

function faultAnswer(errorCode: number): string {
  return `page fault, error code 0x${errorCode.toString(16)}`;
}

function pageAnswer(physical: string, shift: number, prot: number): string {
  return `physical address ${physical}, page of 2^${shift} bytes, rights ${rightsText(prot)}`;
}

function rightsText(prot: number): string {
  return (
    ((prot & 1) === 0 ? "-" : "r") + ((prot & 2) === 0 ? "-" : "w") + ((prot & FETCH_PROT) === 0 ? "-" : "x")
  );
}

function describe({ levels, access, mode, address, root }: RecordedWalk): string {
  const kind =
    (access & FaultCode.fetch) !== 0 ? "fetch" : (access & FaultCode.write) !== 0 ? "write" : "read";
  const modes = Object.entries(WalkMode).filter(([, bit]) => (mode & bit) !== 0);
  const who = (access & FaultCode.user) === 0 ? "supervisor" : "user";
  const set = modes.map(([name]) => name).join(" ");
  return `${levels} levels, CR3 ${root}, ${who} ${kind} of ${address}, ${set}`;
}

function lowHalf(text: string): number {
  return Number.parseInt(text.slice(-8), 16) | 0;
}

function highHalf(text: string): number {
  return text.length <= 8 ? 0 : Number.parseInt(text.slice(0, -8), 16) | 0;
}

/** Bits 12 to 39 of a physical address. */
function frameOfAddress(text: string): number {
  return ((lowHalf(text) >>> 12) | (highHalf(text) << 20)) & 0x0fff_ffff;
}

/** A hexadecimal number without leading zeroes, in lower case. */
function plainHex(text: string): string {
  return text.replace(/^0+(?=.)/, "").toLowerCase();
}

function hexOf(low: number, high: number): string {
  const lowText = (low >>> 0).toString(16);
  return high === 0 ? lowText : (high >>> 0).toString(16) + lowText.padStart(8, "0");
}
