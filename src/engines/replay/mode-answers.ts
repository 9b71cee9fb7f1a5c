/**
 * What each access of a recorded guest came to, kept by the number of its record, so that two replays of one trace can be held
 * against each other. Two words a record, in memory that the threads of a replay share.
 */
import type { TraceCursor } from "../../guest/trace/cursor.ts";
import { Status } from "../../machine/exits.ts";
import { TlbFlag } from "../../machine/tlb.ts";
import type { Vcpu } from "../../machine/vcpu.ts";
import type { GuestView } from "./guest-view.ts";

const WORDS = 2;
/** A frame is kept with this added: 0 stands for no answer, and -1 for no frame. */
const FRAME_BIAS = 2;
const STATUS_BITS = 0xf;
const RIGHTS_SHIFT = 4;
const RIGHTS = TlbFlag.writable | TlbFlag.user | TlbFlag.executable;
const HAS_RIGHTS = 1 << 12;
const IS_TABLE = 1 << 13;
const IS_CLEAN = 1 << 14;
const ERROR_CODE_SHIFT = 16;

/** The answer to one access. */
export interface ModeAnswer {
  /** A `Status`. */
  readonly status: number;
  /** Of a page fault. */
  readonly errorCode: number;
  /** The guest's frame, or the device's; -1 unless it was done. */
  readonly frame: number;
  /** What the TLB grants now, bits of `TlbFlag`; -1 where it has nothing, as after what was emulated. */
  readonly rights: number;
  /** Whether the page has shadows, so that none but the emulator writes to it. */
  readonly isTable: boolean;
  /** Whether D of the guest's own entry is clear, so that a store must be seen first. */
  readonly isClean: boolean;
}

/** The answers of one replay. */
export class ModeAnswers {
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  /** Memory for the answers to a trace of so many records. */
  static memoryFor(records: number): SharedArrayBuffer {
    return new SharedArrayBuffer(records * WORDS * Int32Array.BYTES_PER_ELEMENT);
  }

  /** Keeps what became of an access, `frame` being where it ended. */
  keep(record: TraceCursor, vcpu: Vcpu, view: GuestView, status: number, frame: number): void {
    const isDone = status === Status.done;
    let bits = status;
    if (status === Status.pageFault) bits |= vcpu.faultErrorCode << ERROR_CODE_SHIFT;
    if (isDone && vcpu.frame >= 0) bits |= rightsBits(record, vcpu, view);
    this.#words[record.index * WORDS] = (isDone ? frame : -1) + FRAME_BIAS;
    this.#words[record.index * WORDS + 1] = bits;
  }

  /** The answer to a record; undefined where there was no access, or the replay did not come to it. */
  answerTo(record: number): ModeAnswer | undefined {
    const place = this.#words[record * WORDS] ?? 0;
    if (place === 0) return undefined;
    const bits = this.#words[record * WORDS + 1] ?? 0;
    return {
      status: bits & STATUS_BITS,
      errorCode: bits >>> ERROR_CODE_SHIFT,
      frame: place - FRAME_BIAS,
      rights: (bits & HAS_RIGHTS) === 0 ? -1 : (bits >>> RIGHTS_SHIFT) & RIGHTS,
      isTable: (bits & IS_TABLE) !== 0,
      isClean: (bits & IS_CLEAN) !== 0,
    };
  }
}

function rightsBits({ xLow, xHigh }: TraceCursor, vcpu: Vcpu, view: GuestView): number {
  const entry = vcpu.tlb.find(xLow, xHigh);
  if (entry < 0) return 0;
  const isPermitted = view.observe(xLow, xHigh, vcpu.accessBits, true);
  const isClean = isPermitted && view.walk.dirty === 0;
  return (
    HAS_RIGHTS |
    ((vcpu.tlb.flags(entry) & RIGHTS) << RIGHTS_SHIFT) |
    (view.isShadowed(vcpu.frame) ? IS_TABLE : 0) |
    (isClean ? IS_CLEAN : 0)
  );
}
