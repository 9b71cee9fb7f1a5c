/** The walk as the manual tells it, to hold the walker against: numbers of any size, a map for memory, nothing shared. */
import { FaultCode } from "../../src/machine/fault-code.ts";
import { AccessedPolicy, WalkFormat, WalkMode } from "../../src/machine/walker.ts";

/** Everything that determines a walk. */
export interface Question {
  /** A `WalkFormat`, which is the number of levels. */
  readonly format: number;
  readonly root: number;
  readonly address: bigint;
  readonly access: number;
  readonly mode: number;
  readonly policy: number;
  /** PDPTEs, for PAE. */
  readonly pdptes: readonly bigint[];
  /** Entries by `place`. The walk sets A and D here. */
  readonly entries: Map<string, bigint>;
}

/** What came of it; the last five are 0 after a refusal. */
export interface Answer {
  readonly errorCode: number;
  readonly stopLevel: number;
  readonly leafLevel: number;
  readonly frame: number;
  readonly pageShift: number;
  readonly rights: number;
  readonly dirty: number;
}

/** In this world a frame number has memory behind it by its lowest three bits alone: 1 to 4, else none. */
export function frameOf(frame: number): number {
  const mfn = frame & 7;
  return mfn >= 1 && mfn <= 4 ? mfn : -1;
}

/** Names an entry's place in memory. */
export function place(mfn: number, slot: number): string {
  return `frame ${mfn} slot ${slot}`;
}

/** Log2 of what an entry of a level spans. */
export function spanOf(format: number, level: number): number {
  return 12 + (format === WalkFormat.twoLevel ? 10 : 9) * (level - 1);
}

/** The slot that an address has in a table of a level. */
export function slotOf(format: number, level: number, address: bigint): number {
  return Number(
    BigInt.asUintN(format === WalkFormat.twoLevel ? 10 : 9, address >> BigInt(spanOf(format, level))),
  );
}

const P = 1n;
const A = 0x20n;
const D = 0x40n;
const PS = 0x80n;

/** Walks. */
export function walkByTheBook(question: Question): Answer {
  const { format, address, access, mode, policy, pdptes, entries } = question;
  const refused = (stopLevel: number, bits: number): Answer => {
    const reportsFetch =
      isOn(mode, WalkMode.smep) || (isOn(mode, WalkMode.nxe) && format !== WalkFormat.twoLevel);
    const errorCode = bits | (access & (2 | 4 | (reportsFetch ? 16 : 0)));
    return { errorCode, stopLevel, leafLevel: 0, frame: 0, pageShift: 0, rights: 0, dirty: 0 };
  };
  const passed: string[] = [];
  let table = question.root;
  let rights = 22;
  for (let level = format; ; level--) {
    const isPdpte = format === WalkFormat.pae && level === 3;
    const mfn = isPdpte ? 0 : frameOf(table);
    if (mfn < 0) return refused(level, 0);
    const where = place(mfn, slotOf(format, level, address));
    const entry = (isPdpte ? pdptes[Number(address >> 30n)] : entries.get(where)) ?? 0n;
    if ((entry & P) === 0n) return refused(level, 0);
    if ((entry & reservedBits(format, level, entry, mode)) !== 0n) return refused(level, 9);
    if (!isPdpte) rights &= Number(entry & 6n) | ((entry & (1n << 63n)) === 0n ? 16 : 0);
    if (level === 1 || isLarge(format, level, entry, mode)) {
      if (!isPermitted(rights, access, mode)) return refused(level, 1);
      const bits = A | (isOn(access, FaultCode.write) ? D : 0n);
      if (policy !== AccessedPolicy.none) set(entries, where, bits);
      if (policy === AccessedPolicy.onSuccess) for (const each of passed) set(entries, each, A);
      const pageShift = spanOf(format, level);
      const frame = Number((baseOf(format, level, entry) | BigInt.asUintN(pageShift, address)) >> 12n);
      const dirty = Number(((entries.get(where) ?? 0n) & D) >> 6n);
      return { errorCode: 0, stopLevel: 0, leafLevel: level, frame, pageShift, rights, dirty };
    }
    if (!isPdpte) passed.push(where);
    if (!isPdpte && policy === AccessedPolicy.asPassed) set(entries, where, A);
    table = Number(bitsOf(entry, 12, 39) >> 12n);
  }
}

function isPermitted(rights: number, access: number, mode: number): boolean {
  const [byUser, isWrite, isFetch, isImplicit] = [4, 2, 16, 1 << 18].map((bit) => isOn(access, bit));
  const [userPage, writable, executable] = [4, 2, 16].map((bit) => isOn(rights, bit));
  if (byUser && !userPage) return false;
  if (isFetch && !executable) return false;
  if (isFetch && !byUser && userPage && isOn(mode, WalkMode.smep)) return false;
  const acLifts = isOn(mode, WalkMode.ac) && !isImplicit;
  if (!isFetch && !byUser && userPage && isOn(mode, WalkMode.smap) && !acLifts) return false;
  return !isWrite || writable === true || (!byUser && !isOn(mode, WalkMode.wp));
}

function reservedBits(format: number, level: number, entry: bigint, mode: number): bigint {
  const large = isLarge(format, level, entry, mode);
  if (format === WalkFormat.twoLevel) {
    return !large ? 0n : isOn(mode, WalkMode.pse36) ? 1n << 21n : bitsOf(-1n, 13, 21);
  }
  if (format === WalkFormat.pae && level === 3) return bitsOf(-1n, 40, 63) | 0x1e6n;
  let bits = bitsOf(-1n, 40, 51);
  if (format === WalkFormat.pae) bits |= bitsOf(-1n, 52, 62);
  if (!isOn(mode, WalkMode.nxe)) bits |= 1n << 63n;
  if (level === 4 || (level === 3 && !isOn(mode, WalkMode.gigabyte))) bits |= PS;
  return large ? bits | bitsOf(-1n, 13, spanOf(format, level) - 1) : bits;
}

function isLarge(format: number, level: number, entry: bigint, mode: number): boolean {
  if ((entry & PS) === 0n || level === 1 || level === 4) return false;
  return format !== WalkFormat.twoLevel || isOn(mode, WalkMode.pse);
}

function baseOf(format: number, level: number, entry: bigint): bigint {
  if (format === WalkFormat.twoLevel && level === 2) {
    return bitsOf(entry, 22, 31) | (bitsOf(entry, 13, 20) << 19n);
  }
  return bitsOf(entry, spanOf(format, level), 39);
}

function bitsOf(value: bigint, low: number, high: number): bigint {
  return (BigInt.asUintN(high + 1, value) >> BigInt(low)) << BigInt(low);
}

function isOn(value: number, bit: number): boolean {
  return (value & bit) !== 0;
}

function set(entries: Map<string, bigint>, where: string, bits: bigint): void {
  entries.set(where, (entries.get(where) ?? 0n) | bits);
}
