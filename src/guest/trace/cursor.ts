import { RECORD_WORDS, RecordType } from "./record.ts";

const PTPAGE = RecordType.ptpage;
const CR = RecordType.cr;
const EFER = RecordType.efer;

/** Goes through the records of a trace. The fields are those of the record it stands at; 64-bit ones are two halves. */
export class TraceCursor {
  /** Number of the record, from 0; -1 before the first. */
  index = -1;
  type = 0;
  cpu = 0;
  a = 0;
  b = 0;
  c = 0;
  xLow = 0;
  xHigh = 0;
  yLow = 0;
  yHigh = 0;
  zLow = 0;
  zHigh = 0;
  wLow = 0;
  wHigh = 0;
  /** Word at which the record begins. */
  offset = 0;
  /** Word at which the page behind a `ptpage` begins. */
  payload = 0;
  readonly #words: Int32Array;
  readonly #end: number;
  #next = 0;

  constructor(words: Int32Array) {
    this.#words = words;
    this.#end = words.length;
  }

  /** Goes to the next record; false when the words are used up, or hold less than a record. */
  next(): boolean {
    const words = this.#words;
    const offset = this.#next;
    if (offset + RECORD_WORDS > this.#end) return false;
    const head = words[offset] ?? 0;
    this.index++;
    this.offset = offset;
    this.type = head & 0xff;
    this.cpu = (head >>> 8) & 0xff;
    this.a = (head >>> 16) & 0xff;
    this.b = head >>> 24;
    this.c = (words[offset + 1] ?? 0) >>> 0;
    this.xLow = words[offset + 2] ?? 0;
    this.xHigh = words[offset + 3] ?? 0;
    this.yLow = words[offset + 4] ?? 0;
    this.yHigh = words[offset + 5] ?? 0;
    this.zLow = words[offset + 6] ?? 0;
    this.zHigh = words[offset + 7] ?? 0;
    this.wLow = words[offset + 8] ?? 0;
    this.wHigh = words[offset + 9] ?? 0;
    this.payload = offset + RECORD_WORDS;
    this.#next = this.payload + (this.type === PTPAGE ? this.c >>> 2 : 0);
    return true;
  }

  /** Goes to the record at which another cursor of the same trace stands. */
  moveTo(other: TraceCursor): void {
    this.#next = other.offset;
    this.index = other.index - 1;
    this.next();
  }

  /** Word behind the record and what follows it. */
  get nextOffset(): number {
    return this.#next;
  }

  /** Whether the record gives the state of a CPU instead of something that it does. */
  isState(): boolean {
    return this.b === 1 && (this.type === CR || this.type === EFER);
  }

  /** A word of the page behind a `ptpage`. */
  payloadWord(index: number): number {
    return this.#words[this.payload + index] ?? 0;
  }
}
