/**
 * A guest as the manual has it, run beside the real machine: it says of every answer whether some processor with a TLB
 * could have given it, and follows it. Where several answers are legal, what the machine holds tells which one it was.
 *
 * A TLB may hold what an earlier access of the same vCPU found, until the guest flushes it: INVLPG, a load of CR3, a
 * change of mode, a page fault at the address. A fault always comes from the tables as they are.
 */
import { Cr0, Cr4, Efer, guestPagingLevels } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { entryBytes } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { walkFlat } from "./reference-walk.ts";
import type { Asked, FlatMemory, Mark, WalkRegisters, Walked } from "./reference-walk.ts";

/** An access as a guest makes it. */
export interface Wish {
  readonly kind: "load" | "store" | "exchange" | "fetch";
  readonly address: bigint;
  readonly size: number;
  readonly value: bigint;
  readonly expected: bigint;
}

/** What the machine answered. */
export interface Answer {
  readonly status: number;
  readonly value: bigint;
  readonly exchanged: boolean;
  readonly errorCode: number;
  readonly cr2: bigint;
  /** Gfn of the device that answered, -1 when memory did. */
  readonly device: number;
}

/** A translation that a TLB may hold. */
interface Cached {
  readonly gfn: number;
  readonly writable: boolean;
  readonly user: boolean;
  readonly executable: boolean;
  readonly dirty: boolean;
  readonly shift: number;
}

/** The bytes of an access that lie in one page. */
interface Part {
  readonly address: bigint;
  readonly size: number;
  readonly walk: Walked;
  readonly choices: readonly Choice[];
  /** What a TLB may hold of the page afterwards. */
  readonly fills: readonly Walked[];
  /** Another error code that a fault may have, -1 for none. */
  readonly errorCodeToo: number;
}

/** One legal way to translate a part: through the tables, which sets bits, or from the TLB. */
interface Choice {
  readonly gfn: number;
  readonly marks: readonly Mark[];
}

interface Undo {
  readonly at: number;
  readonly byte: number;
}

/** One vCPU's registers. */
export class FlatCpu {
  cr0 = 0x6000_0010;
  cr3 = 0n;
  cr4 = 0;
  efer = 0;
  cpl = 0;
  implicit = false;
  alignmentCheck = false;
  /** The page that CR3 named when it was loaded. */
  root = -1;
  readonly pdptes = [0n, 0n, 0n, 0n];
  /** PAE: whether the page of a level 2 table was memory when the PDPTEs were loaded. */
  readonly hasRoot = [false, false, false, false];
  readonly cached = new Map<number, Cached[]>();
  /** 2 MiB regions whose upper levels a paging-structure cache may still hold as they kept user mode out. */
  readonly kernelRegions = new Set<number>();

  get levels(): GuestLevels | 0 {
    const levels = guestPagingLevels(this.cr0, this.cr4, this.efer);
    return levels === 0 ? 0 : (levels as GuestLevels);
  }

  registers(nxe = (this.efer & Efer.nxe) !== 0): WalkRegisters {
    const { levels, root, pdptes } = this;
    return {
      levels,
      root,
      pdptes,
      wp: (this.cr0 & Cr0.wp) !== 0,
      pse: (this.cr4 & Cr4.pse) !== 0,
      nxe,
      smep: (this.cr4 & Cr4.smep) !== 0,
      smap: (this.cr4 & Cr4.smap) !== 0,
    };
  }
}

/** The guest. */
export class FlatGuest {
  readonly memory: FlatMemory;
  readonly cpus: readonly FlatCpu[];
  /** Whether the processors have paging-structure caches. */
  readonly #hasStructureCache: boolean;
  /** Whether the hypervisor remembers translations as a TLB would: those to devices too, and what CR0.WP = 0 allows. */
  readonly #hasTranslationCache: boolean;
  /** Whether any vCPU ever had EFER.NXE set: shadows made then keep what XD meant (spec 10.3). */
  hadNxe = false;

  constructor(
    memory: FlatMemory,
    vcpus: number,
    caches: { readonly structures: boolean; readonly translations: boolean },
  ) {
    this.memory = memory;
    this.#hasStructureCache = caches.structures;
    this.#hasTranslationCache = caches.translations;
    this.cpus = Array.from({ length: vcpus }, () => new FlatCpu());
  }

  /** CR3 was loaded, or a mode change has taken it again. */
  loadRoot(cpu: FlatCpu): void {
    cpu.cached.clear();
    cpu.kernelRegions.clear();
    if (cpu.levels === 0) return;
    cpu.root = Number((cpu.cr3 >> 12n) & 0xfff_ffffn);
    if (cpu.levels === 3) this.#loadPdptes(cpu);
  }

  /** Whether a gfn is a table that hardware starts from, on any vCPU. */
  isLoadedRoot(gfn: number): boolean {
    return this.cpus.some((cpu) => {
      if (cpu.levels === 3) {
        return cpu.pdptes.some((entry, slot) => cpu.hasRoot[slot] === true && gfn === pdpteGfn(entry));
      }
      return cpu.levels !== 0 && cpu.root === gfn;
    });
  }

  /** No TLB may hold a translation to this page any more. A cache of gfns may: what is at the gfn is asked each time. */
  forgetPage(gfn: number): void {
    if (this.#hasTranslationCache) return;
    for (const cpu of this.cpus)
      for (const [page, list] of cpu.cached)
        cpu.cached.set(
          page,
          list.filter((each) => each.gfn !== gfn),
        );
  }

  /** INVLPG: the page, and all of the large page that it may be a piece of. */
  invalidate(cpu: FlatCpu, address: bigint): void {
    cpu.kernelRegions.clear();
    for (const [page, list] of cpu.cached)
      cpu.cached.set(
        page,
        list.filter((each) => {
          const shift = BigInt(each.shift);
          return (BigInt(page) << 12n) >> shift !== BigInt.asIntN(52, address) >> shift;
        }),
      );
  }

  /**
   * Whether the machine is to be asked at all. What it does not do, by its specification: a user-mode store to a root that
   * is loaded, which ends the domain.
   */
  canBeAsked(cpu: FlatCpu, wish: Wish): boolean {
    const isUserWrite = cpu.cpl === 3 && !cpu.implicit && writes(wish);
    const [part, second] = this.#parts(cpu, wish);
    if (!isUserWrite || part === undefined || second !== undefined) return true;
    return part.walk.errorCode >= 0 || !this.isLoadedRoot(part.walk.gfn);
  }

  /** The page that a supervisor's load of an address finds now, -1 when there is none. */
  peek(cpu: FlatCpu, address: bigint): number {
    const asked = { write: false, fetch: false, user: false, implicit: false, alignmentCheck: true };
    const { gfn } = walkFlat(this.memory, cpu.registers(), address, asked);
    return this.memory.has(gfn) ? gfn : -1;
  }

  /** Holds an answer against what is legal and follows it; what is wrong with it, in words. */
  follow(cpu: FlatCpu, wish: Wish, answer: Answer, actual: (at: number) => number): string | undefined {
    const parts = this.#parts(cpu, wish);
    if (cpu.levels === 4 && parts.some(({ address }) => !isCanonical(address)))
      return answer.status === Status.generalProtection
        ? undefined
        : "an address that is not canonical is #GP";
    const complaint =
      answer.status === Status.done
        ? this.#followDone(cpu, wish, answer, parts, actual)
        : this.#followFault(cpu, answer, parts, actual);
    for (const { address, fills } of parts) for (const walk of fills) this.#remember(cpu, address, walk);
    if (answer.status === Status.pageFault) this.#forgetAddress(cpu, answer.cr2);
    return complaint;
  }

  #followDone(
    cpu: FlatCpu,
    wish: Wish,
    answer: Answer,
    parts: readonly Part[],
    actual: (at: number) => number,
  ): string | undefined {
    const [first, second] = parts;
    if (first === undefined) return "no parts";
    const firsts = first.choices.filter(({ gfn }) => answer.device < 0 || gfn === answer.device);
    const seconds = second === undefined ? [undefined] : second.choices;
    const touched = this.#touchable(parts);
    const complaints: string[] = [];
    for (const one of firsts)
      for (const other of seconds) {
        const undo: Undo[] = [];
        const complaint = this.#attempt(wish, answer, { first, one, second, other, touched }, actual, undo);
        if (complaint === undefined) return undefined;
        complaints.push(complaint);
        for (const { at, byte } of undo.toReversed()) this.memory.bytes[at] = byte;
      }
    const walks = parts.map(({ walk }) =>
      walk.errorCode < 0 ? `gfn ${String(walk.gfn)}` : `fault ${String(walk.errorCode)}`,
    );
    return `it is done, but ${complaints.join("; ") || `the tables say ${walks.join(" and ")} (levels ${String(cpu.levels)})`}`;
  }

  /** Does the access one legal way and compares every byte that may have changed. */
  #attempt(
    wish: Wish,
    answer: Answer,
    way: {
      readonly first: Part;
      readonly one: Choice;
      readonly second: Part | undefined;
      readonly other: Choice | undefined;
      readonly touched: ReadonlySet<number>;
    },
    actual: (at: number) => number,
    undo: Undo[],
  ): string | undefined {
    const { first, one, second, other } = way;
    for (const choice of [one, other]) this.#mark(choice?.marks ?? [], undo);
    const isDevice = !this.memory.has(one.gfn);
    if (isDevice !== answer.device >= 0) return isDevice ? "a device was due" : "memory was due";
    let before = this.#valueAt(one.gfn, offsetOf(first.address), first.size);
    if (second !== undefined && other !== undefined)
      before |= this.#valueAt(other.gfn, 0, second.size) << BigInt(8 * first.size);
    if (wish.kind !== "store" && before !== answer.value)
      return `it reads 0x${answer.value.toString(16)} where 0x${before.toString(16)} is`;
    let isStored = wish.kind === "store";
    if (wish.kind === "exchange") {
      const hasDevice = isDevice || (other !== undefined && !this.memory.has(other.gfn));
      isStored = !hasDevice && before === BigInt.asUintN(wish.size * 8, wish.expected);
      if (isStored !== answer.exchanged) return `exchanged is ${String(answer.exchanged)}`;
    }
    if (isStored) {
      this.#storeAt(one.gfn, offsetOf(first.address), first.size, wish.value, undo);
      if (second !== undefined && other !== undefined)
        this.#storeAt(other.gfn, 0, second.size, wish.value >> BigInt(8 * first.size), undo);
    }
    for (const at of way.touched)
      if (actual(at) !== this.memory.bytes[at])
        return `byte 0x${at.toString(16)} is 0x${actual(at).toString(16)}, not 0x${(this.memory.bytes[at] ?? 0).toString(16)}`;
    return undefined;
  }

  /** Every byte of memory that some legal way to do the access could change. */
  #touchable(parts: readonly Part[]): Set<number> {
    const touched = new Set<number>();
    for (const { address, size, walk, choices } of parts) {
      for (const mark of walk.marks) for (let byte = 0; byte < mark.size; byte++) touched.add(mark.at + byte);
      for (const { gfn } of choices) {
        if (!this.memory.has(gfn)) continue;
        for (let byte = 0; byte < size; byte++) touched.add(gfn * 4096 + offsetOf(address) + byte);
      }
    }
    return touched;
  }

  #followFault(
    cpu: FlatCpu,
    answer: Answer,
    parts: readonly Part[],
    actual: (at: number) => number,
  ): string | undefined {
    if (answer.status !== Status.pageFault) return `status ${String(answer.status)}`;
    const index = parts.findIndex(({ address }) => BigInt.asUintN(64, address) === answer.cr2);
    const part = parts[index];
    if (part === undefined) return `CR2 is 0x${answer.cr2.toString(16)}`;
    if (parts.slice(0, index).some(({ choices }) => choices.length === 0))
      return "an earlier page of the access would fault first";
    for (const { walk } of parts) this.#markAsFound(walk, actual);
    if (part.walk.errorCode === answer.errorCode || part.errorCodeToo === (answer.errorCode & ~16))
      return undefined;
    if (this.#isLateRoot(cpu, part, answer)) return undefined;
    return `it faults with ${String(answer.errorCode)} where the tables say ${String(part.walk.errorCode)}, gfn ${String(part.walk.gfn)}`;
  }

  /** A page that passed may have got its bits although the access came to nothing. */
  #markAsFound(walk: Walked, actual: (at: number) => number): void {
    const undo: Undo[] = [];
    this.#mark(walk.marks, undo);
    if (undo.some(({ at }) => actual(at) !== this.memory.bytes[at]))
      for (const { at, byte } of undo.toReversed()) this.memory.bytes[at] = byte;
  }

  /** PAE: a level 2 table that was no memory when CR3 was loaded and is now costs one fault (spec 9.3). */
  #isLateRoot(cpu: FlatCpu, part: Part, answer: Answer): boolean {
    if (cpu.levels !== 3 || part.walk.errorCode >= 0 || (answer.errorCode & 1) !== 0) return false;
    if (cpu.hasRoot[Number((part.address >> 30n) & 3n)] === true) return false;
    this.loadRoot(cpu);
    return true;
  }

  #loadPdptes(cpu: FlatCpu): void {
    const page = Number((cpu.cr3 >> 12n) & 0xf_ffffn);
    const start = page * 4096 + Number(cpu.cr3 & 0xfe0n);
    for (let slot = 0; slot < 4; slot++) {
      const entry = this.memory.readEntry(start + slot * 8, 8);
      cpu.pdptes[slot] = entry;
      const isFine = (entry & 1n) !== 0n && (entry & 0xffff_ff00_0000_01e6n) === 0n;
      cpu.hasRoot[slot] = isFine && this.memory.has(pdpteGfn(entry));
    }
  }

  #parts(cpu: FlatCpu, wish: Wish): Part[] {
    const before = 4096 - offsetOf(wish.address);
    if (wish.size <= before) return [this.#part(cpu, wish, wish.address, wish.size)];
    let next = wish.address + BigInt(before);
    if (cpu.levels !== 4) next = BigInt.asUintN(32, next);
    return [this.#part(cpu, wish, wish.address, before), this.#part(cpu, wish, next, wish.size - before)];
  }

  #part(cpu: FlatCpu, wish: Wish, address: bigint, size: number): Part {
    const isUser = cpu.cpl === 3 && !cpu.implicit;
    const asked: Asked = {
      write: writes(wish),
      fetch: wish.kind === "fetch",
      user: isUser,
      implicit: cpu.cpl === 3 && cpu.implicit,
      alignmentCheck: cpu.alignmentCheck,
    };
    const walk = walkFlat(this.memory, cpu.registers(), address, asked);
    const choices: Choice[] = [];
    const fills = walk.errorCode < 0 ? [walk] : [];
    for (const cached of cpu.cached.get(pageOf(address)) ?? [])
      if (allows(cpu, cached, asked, this.#hasTranslationCache)) choices.push({ gfn: cached.gfn, marks: [] });
    if (walk.errorCode < 0) choices.push({ gfn: walk.gfn, marks: walk.marks });
    if (walk.errorCode >= 0 && cpu.kernelRegions.has(regionOf(address))) {
      const asBefore = walkFlat(
        this.memory,
        { ...cpu.registers(), smep: false, smap: false },
        address,
        asked,
      );
      if (asBefore.errorCode < 0) {
        choices.push({ gfn: asBefore.gfn, marks: [] });
        fills.push({ ...asBefore, user: false });
      }
    }
    let errorCodeToo = -1;
    // Shadows made while XD was XD answer for it still, also that something is not present.
    if (this.hadNxe && cpu.levels !== 0 && (cpu.efer & Efer.nxe) === 0) {
      const asBefore = walkFlat(this.memory, cpu.registers(true), address, asked);
      if (asBefore.errorCode < 0) {
        choices.push({ gfn: asBefore.gfn, marks: [] });
        fills.push(asBefore);
      } else if ((asBefore.errorCode & 1) === 0) errorCodeToo = asBefore.errorCode & 6;
    }
    return { address, size, walk, choices, fills, errorCodeToo };
  }

  #remember(cpu: FlatCpu, address: bigint, walk: Walked): void {
    if (!this.memory.has(walk.gfn) && !this.#hasTranslationCache) return;
    if (this.#hasStructureCache && !walk.userAbove) cpu.kernelRegions.add(regionOf(address));
    const page = pageOf(address);
    const list = cpu.cached.get(page) ?? [];
    const { gfn, writable, user, executable, dirty, shift } = walk;
    const isKnown = list.some(
      (each) =>
        each.gfn === gfn &&
        each.writable === writable &&
        each.user === user &&
        each.executable === executable &&
        each.dirty === dirty &&
        each.shift === shift,
    );
    if (!isKnown) cpu.cached.set(page, [...list, { gfn, writable, user, executable, dirty, shift }]);
  }

  #forgetAddress(cpu: FlatCpu, address: bigint): void {
    cpu.cached.delete(pageOf(BigInt.asIntN(64, address)));
    cpu.cached.delete(pageOf(address));
  }

  #mark(marks: readonly Mark[], undo: Undo[]): void {
    for (const { at, size, bits } of marks) {
      undo.push({ at, byte: this.memory.bytes[at] ?? 0 });
      this.memory.writeEntry(at, size, this.memory.readEntry(at, size) | bits);
    }
  }

  /** What the bytes of one page read as: memory's own, or a device's. */
  #valueAt(gfn: number, offset: number, size: number): bigint {
    if (!this.memory.has(gfn)) return deviceValue(gfn, offset, size);
    let value = 0n;
    for (let byte = 0; byte < size; byte++)
      value |= BigInt(this.memory.bytes[gfn * 4096 + offset + byte] ?? 0) << BigInt(8 * byte);
    return value;
  }

  /** Stores into one page; a device takes it and does nothing. */
  #storeAt(gfn: number, offset: number, size: number, value: bigint, undo: Undo[]): void {
    if (!this.memory.has(gfn)) return;
    for (let byte = 0; byte < size; byte++) {
      const at = gfn * 4096 + offset + byte;
      undo.push({ at, byte: this.memory.bytes[at] ?? 0 });
      this.memory.bytes[at] = Number((value >> BigInt(8 * byte)) & 0xffn);
    }
  }
}

function pdpteGfn(entry: bigint): number {
  return Number((entry >> 12n) & 0xfff_ffffn);
}

function writes({ kind }: Wish): boolean {
  return kind === "store" || kind === "exchange";
}

function offsetOf(address: bigint): number {
  return Number(address & 0xfffn);
}

/** Page number of an address, the same for both ways to write a high one. */
function pageOf(address: bigint): number {
  return Number(BigInt.asIntN(64, address) >> 12n);
}

function regionOf(address: bigint): number {
  return Number(BigInt.asIntN(64, address) >> 21n);
}

function isCanonical(address: bigint): boolean {
  return BigInt.asUintN(64, BigInt.asIntN(48, address)) === BigInt.asUintN(64, address);
}

/** Whether a cached translation lets an access through. Shadows never cache what CR0.WP = 0 alone allows. */
function allows(cpu: FlatCpu, cached: Cached, asked: Asked, heedsWriteProtect: boolean): boolean {
  const isOverridden = heedsWriteProtect && !asked.user && (cpu.cr0 & Cr0.wp) === 0;
  if (asked.write && !((cached.writable || isOverridden) && cached.dirty)) return false;
  if (asked.fetch && !cached.executable) return false;
  if (asked.user) return cached.user;
  if (!cached.user || cpu.levels === 0) return true;
  if (asked.fetch) return (cpu.cr4 & Cr4.smep) === 0;
  return (cpu.cr4 & Cr4.smap) === 0 || (asked.alignmentCheck && !asked.implicit);
}

/** What a device register reads as: a function of its page and offset. */
function deviceValue(gfn: number, offset: number, size: number): bigint {
  const word = (at: number): bigint => BigInt((Math.imul(gfn, 0x9e37_79b1) ^ at) >>> 0);
  const value = word(offset) | (word(offset + 4) << 32n);
  return BigInt.asUintN(size * 8, value);
}

/** Size of an entry of a vCPU's format; with paging off that of a 2-level guest. */
export function entrySize(cpu: FlatCpu): number {
  return cpu.levels === 0 ? 4 : entryBytes(cpu.levels);
}
