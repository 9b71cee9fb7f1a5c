/**
 * Holds what a replayed record came to against the recording. In strict order the recording is right to the last bit; in
 * causal order accesses are held against the guest's own tables, for other vCPUs may have changed them meanwhile.
 */
import { addressOf, frameOfAddress, hex64 } from "../../guest/trace/address.ts";
import type { TraceCursor } from "../../guest/trace/cursor.ts";
import { FillAccess, FillRight, RecordType, isUserFill } from "../../guest/trace/record.ts";
import type { ReplayJudge } from "../../guest/trace/trace-program.ts";
import type { Turns } from "../../guest/trace/turns.ts";
import { ARCHITECTURAL_FAULT_BITS, FaultCode } from "../../machine/fault-code.ts";
import { Cr4 } from "../../machine/control-registers.ts";
import { Status } from "../../machine/exits.ts";
import { TlbFlag } from "../../machine/tlb.ts";
import type { Vcpu } from "../../machine/vcpu.ts";
import { PAGE_BYTES } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { GuestBytes } from "./guest-view.ts";
import type { GuestView } from "./guest-view.ts";
import type { ModeAnswers } from "./mode-answers.ts";
import { noCounts, SHOWN_MAX } from "./outcome.ts";
import type { Mismatch } from "./outcome.ts";
import { describeAccess, describeEnd, describeStore } from "./record-text.ts";
import { RefusedWalks } from "./refused-walks.ts";
import { StaleMarks } from "./stale-marks.ts";
import { StaleRights } from "./stale-rights.ts";

const DONE = Status.done;
const FILL = RecordType.fill;
const HARDWARE_BITS = 0x60;
const { read: READ, write: WRITE, execute: EXECUTE } = FillRight;

/** Judges one vCPU's part of a replay. */
export class Judge implements ReplayJudge {
  readonly counts = noCounts();
  readonly first: Mismatch[] = [];
  readonly crossings: [record: number, page: number][] = [];
  /** Where what each access came to is kept, if anybody asks. */
  answers: ModeAnswers | null = null;
  readonly #vcpu: Vcpu;
  readonly #view: GuestView;
  readonly #turns: Turns;
  readonly #ramBytes: number;
  readonly #refused: RefusedWalks;
  /** With out-of-sync shadows: what they may leave undone. */
  readonly #stale: StaleMarks | null;
  readonly #staleRights: StaleRights | null;
  readonly #old: GuestBytes;
  /** Whether memory held what the store at hand was recorded to overwrite. */
  #isOldValue = true;
  #isHolding = false;
  /** Number of ordered operations when the access at hand was about to be made, -1 if one was running. */
  #quietBefore = -1;

  constructor(
    vcpu: Vcpu,
    view: GuestView,
    turns: Turns,
    trace: { readonly ramBytes: number; readonly cpus: number },
    isOutOfSync: boolean,
  ) {
    this.#vcpu = vcpu;
    this.#view = view;
    this.#turns = turns;
    this.#ramBytes = trace.ramBytes;
    this.#refused = new RefusedWalks(trace.cpus);
    this.#stale = isOutOfSync ? new StaleMarks(trace.cpus) : null;
    this.#staleRights = isOutOfSync ? new StaleRights(trace.cpus) : null;
    this.#old = new GuestBytes(view);
  }

  scanned(record: TraceCursor): void {
    if (record.cpu === this.#vcpu.id) this.counts.replayed++;
    this.#refused.note(record);
    this.#stale?.note(record);
    this.#staleRights?.note(record);
  }

  accessing(): void {
    if (this.#turns.isCausal) this.#quietBefore = this.#turns.quietAt();
  }

  accessed(record: TraceCursor, status: number): boolean {
    const problem = this.#turns.isCausal
      ? this.#differsFromTables(record, status)
      : this.#differs(record, status);
    if (problem !== "" && this.#turns.isCausal && !this.#isHolding && !this.#isUndisturbed()) {
      // Perhaps it was right when it was made. Made again while nothing changes, it must be right.
      if (this.#turns.hold()) {
        this.#isHolding = true;
        return false;
      }
      return true;
    }
    if (this.#isHolding) {
      this.#isHolding = false;
      this.#turns.release();
    }
    this.#count(record, problem, status);
    this.answers?.keep(record, this.#vcpu, this.#view, status, this.#frame());
    return true;
  }

  accessedByStore(record: TraceCursor, status: number): void {
    this.#count(record, this.#differs(record, status), status);
    this.answers?.keep(record, this.#vcpu, this.#view, status, this.#frame());
  }

  storing(record: TraceCursor): void {
    const { a, xLow, xHigh, zLow, zHigh } = record;
    const physical = addressOf(xLow, xHigh);
    this.#old.read(physical, a, this.#nextPage(record));
    const differing = (this.#old.low ^ zLow) & sizeMask(a);
    const differingHigh = a === 8 ? this.#old.high ^ zHigh : 0;
    this.#isOldValue = true;
    if ((differing | differingHigh) === 0) return;
    const low = differing & ~this.#looseBits(physical, 0);
    const high = differingHigh & ~this.#looseBits(physical, 4);
    if ((low | high) === 0) return;
    this.#isOldValue = ((low & ~this.#staleBits(physical)) | (high & ~this.#staleBits(physical + 4))) === 0;
    if (this.#isOldValue) this.counts.legalDifferences++;
  }

  stored(record: TraceCursor, status: number): void {
    const { counts } = this;
    counts.stores++;
    const problem = this.#storeProblem(record, status);
    if (problem === "") return;
    counts.storeMismatches++;
    // What memory held there is as much of interest as how the address led there.
    const stored = [addressOf(record.xLow & ~3, record.xHigh)];
    this.#show(record, `${describeStore(record)}: ${problem}`, record.wLow, record.wHigh, stored);
  }

  refused(record: TraceCursor, what: string): void {
    this.#vcpu.reportViolation("replay", `Record ${record.index}: ${what} was refused.`);
  }

  /** Whether nothing that can change a translation has run since the access was about to be made. */
  #isUndisturbed(): boolean {
    return this.#quietBefore >= 0 && this.#turns.quietAt() === this.#quietBefore;
  }

  #count(record: TraceCursor, problem: string, status: number): void {
    const { counts } = this;
    const isFill = record.type === FILL;
    if (isFill) counts.fills++;
    else counts.faults++;
    if (problem === "") return;
    if (this.#isLegalRight(record, status)) {
      counts.legalDifferences++;
      counts.legalRights++;
      return;
    }
    if (isFill) counts.fillMismatches++;
    else counts.faultMismatches++;
    this.#show(record, `${describeAccess(record)}: ${problem}`, record.xLow, record.xHigh, []);
  }

  /** How an access differs from the recording, "" when it does not. */
  #differs(record: TraceCursor, status: number): string {
    const vcpu = this.#vcpu;
    if (record.type !== FILL) {
      if (status === Status.pageFault && vcpu.faultErrorCode === record.c) return "";
      return describeEnd(vcpu, status, this.#frame());
    }
    if (status !== DONE) return describeEnd(vcpu, status, -1);
    const { xLow, yLow, yHigh } = record;
    if (this.#frame() !== frameOfAddress(yLow, yHigh) || ((xLow ^ yLow) & (PAGE_BYTES - 1)) !== 0) {
      return describeEnd(vcpu, status, this.#frame());
    }
    return vcpu.frame < 0 ? "" : this.#surplusRights(record);
  }

  /** Whether what differs is a right that an out-of-sync shadow may still grant. */
  #isLegalRight(record: TraceCursor, status: number): boolean {
    const { frame } = this.#vcpu;
    if (this.#staleRights === null || status !== DONE || frame < 0) return false;
    const isFill = record.type === FILL;
    if (isFill && this.#frame() !== frameOfAddress(record.yLow, record.yHigh)) return false;
    const granted = isFill ? this.#granted(record) : 0;
    if (isFill && (granted & ~record.c) === 0) return false;
    return this.#staleRights.isLegal(record, granted, this.#frame(), this.#vcpu, this.#view);
  }

  /** The frame that the access ended in: of the guest, or the device's. */
  #frame(): number {
    const { frame, deviceFrame } = this.#vcpu;
    return frame < 0 ? deviceFrame : this.#view.guestFrameOf(frame);
  }

  /** Rights that the TLB grants now beyond those recorded, "" when it grants none such. */
  #surplusRights(record: TraceCursor): string {
    const surplus = this.#granted(record) & ~record.c;
    if (surplus === 0) return "";
    // The record withholds write while D is clear. If the guest's tables permit it, D may have been set since.
    if (surplus === WRITE && this.#observe(record, FaultCode.write)) return "";
    const names = ["read", "write", "execute"].filter((_, bit) => (surplus & (1 << bit)) !== 0);
    return `grants ${names.join(" and ")} too`;
  }

  #granted({ xLow, xHigh, b }: TraceCursor): number {
    const { tlb } = this.#vcpu;
    const entry = tlb.find(xLow, xHigh);
    // None is left by what was emulated.
    if (entry < 0) return 0;
    const flags = tlb.flags(entry);
    const isSmepRefused = !isUserFill(b) && (flags & TlbFlag.user) !== 0 && this.#hasSmep();
    const canExecute = (flags & TlbFlag.executable) !== 0 && !isSmepRefused;
    return READ | ((flags & TlbFlag.writable) === 0 ? 0 : WRITE) | (canExecute ? EXECUTE : 0);
  }

  #hasSmep(): boolean {
    return (this.#vcpu.register(VcpuCell.cr4) & Cr4.smep) !== 0;
  }

  /** How an access differs from what the guest's tables say now, "" when it does not. */
  #differsFromTables(record: TraceCursor, status: number): string {
    const vcpu = this.#vcpu;
    const isPermitted = this.#observe(record, accessOf(record));
    const { walk } = this.#view;
    if (!isPermitted) {
      const wanted = walk.errorCode & ARCHITECTURAL_FAULT_BITS;
      return status === Status.pageFault && vcpu.faultErrorCode === wanted
        ? ""
        : describeEnd(vcpu, status, this.#frame());
    }
    if (status !== DONE || this.#frame() !== walk.frame) return describeEnd(vcpu, status, this.#frame());
    const entry = vcpu.tlb.find(record.xLow, record.xHigh);
    if (vcpu.frame < 0 || entry < 0) return "";
    const rights = TlbFlag.writable | TlbFlag.user | TlbFlag.executable;
    return (vcpu.tlb.flags(entry) & rights & ~walk.rights) === 0 ? "" : "grants more than the guest's tables";
  }

  #observe(record: TraceCursor, bits: number): boolean {
    const { xLow, xHigh } = record;
    const vcpu = this.#vcpu;
    return this.#view.observe(xLow, xHigh, bits | vcpu.accessBits, vcpu.alignmentCheck);
  }

  #storeProblem(record: TraceCursor, status: number): string {
    const { a, xLow, xHigh, wLow } = record;
    const vcpu = this.#vcpu;
    if (status !== DONE) return describeEnd(vcpu, status, -1);
    if (this.#frame() !== frameOfAddress(xLow, xHigh) || ((wLow ^ xLow) & (PAGE_BYTES - 1)) !== 0) {
      return describeEnd(vcpu, status, this.#frame());
    }
    return this.#isOldValue ? "" : `memory held ${hex64(this.#old.low, a === 8 ? this.#old.high : 0)} before`;
  }

  /** Where the page behind the one that is stored to lies, if the store goes on in it. */
  #nextPage(record: TraceCursor): number {
    const { a, wLow, wHigh, xLow } = record;
    if ((xLow & (PAGE_BYTES - 1)) + a <= PAGE_BYTES) return 0;
    const nextLow = ((wLow & -PAGE_BYTES) + PAGE_BYTES) | 0;
    const nextHigh = nextLow === 0 ? (wHigh + 1) | 0 : wHigh;
    this.#view.observe(nextLow, nextHigh, FaultCode.write | this.#vcpu.accessBits, true);
    const page = this.#view.walk.frame * PAGE_BYTES;
    if (page >= this.#ramBytes) return 0;
    this.crossings.push([record.index, page]);
    return page;
  }

  /** Bits by which the word `offset` bytes into a stored value may differ. */
  #looseBits(physical: number, offset: number): number {
    // An unaligned store's bytes are shifted against the entry's: then nothing is excused.
    const address = physical + offset;
    if (address % 4 !== 0) return 0;
    if (!this.#turns.isCausal) return this.#refused.looseBits(address);
    return this.#view.format() === 2 || address % 8 === 0 ? HARDWARE_BITS : 0;
  }

  /** Bits of a word that an out-of-sync shadow may have left unset. */
  #staleBits(address: number): number {
    return this.#stale === null || address % 4 !== 0 ? 0 : this.#stale.looseBits(address);
  }

  #show(record: TraceCursor, what: string, low: number, high: number, stored: readonly number[]): void {
    if (this.first.length >= SHOWN_MAX) return;
    const { guest, shadow } = this.#view.describe(low, high);
    this.#view.observe(low, high, this.#vcpu.accessBits, true);
    const entries = [...this.#view.entryAddresses(), ...stored];
    this.first.push({ record: record.index, what, guestWalk: guest, shadowWalk: shadow, entries });
  }
}

/** What an access asks for, as in an error code; privilege comes from the vCPU. */
function accessOf({ type, a, c }: TraceCursor): number {
  if (type !== FILL) return c & (FaultCode.write | FaultCode.fetch);
  if (a === FillAccess.write) return FaultCode.write;
  return a === FillAccess.fetch ? FaultCode.fetch : 0;
}

function sizeMask(size: number): number {
  return size >= 4 ? -1 : (1 << (size * 8)) - 1;
}
