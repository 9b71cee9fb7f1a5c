/**
 * The tracked tables as the recording says that they are, in ordinary memory: what PTPAGE brings, PTW stores and AD
 * sets. At the end the replayed guest's memory must hold the same.
 */
import { addressOf, hex64 } from "../../guest/trace/address.ts";
import { TraceCursor } from "../../guest/trace/cursor.ts";
import { RecordType } from "../../guest/trace/record.ts";
import { PAGE_BYTES } from "../../memory/units.ts";
import { RefusedWalks } from "./refused-walks.ts";
import { StaleMarks } from "./stale-marks.ts";

/** A and D. */
const HARDWARE_BITS = 0x60;

/** Where the second part of a store that crosses pages went, by number of its record. */
export type Crossings = ReadonlyMap<number, number>;

/** A word of a table that is not what it must be. */
export interface TableMismatch {
  /** Guest physical address. */
  readonly address: number;
  readonly expected: number;
  readonly got: number;
  /** Whether it is an A that an out-of-sync shadow may have left unset. */
  readonly isLegal: boolean;
}

/** Builds the tables as they are after the whole trace. */
export class ReferenceTables {
  readonly #pages = new Map<number, Int32Array>();
  readonly #refused: RefusedWalks;
  readonly #stale: StaleMarks | null;

  constructor(words: Int32Array, cpus: number, crossings: Crossings, isOutOfSync: boolean) {
    this.#refused = new RefusedWalks(cpus);
    this.#stale = isOutOfSync ? new StaleMarks(cpus) : null;
    for (const record = new TraceCursor(words); record.next();) {
      this.#take(record, crossings);
      this.#refused.note(record);
      this.#stale?.note(record);
    }
  }

  /** Addresses of the tracked pages. */
  get pages(): Iterable<number> {
    return this.#pages.keys();
  }

  /**
   * Compares every table with guest memory.
   *
   * @param ignoresHardwareBits Whether A and D do not count: then walks were not made in the recorded order.
   */
  *compare(readWord: (address: number) => number, ignoresHardwareBits: boolean): Generator<TableMismatch> {
    for (const [page, words] of this.#pages) {
      for (const [index, expected] of words.entries()) {
        const address = page + index * 4;
        const got = readWord(address);
        const loose = ignoresHardwareBits ? HARDWARE_BITS : this.#refused.looseBits(address);
        const differing = (expected ^ got) & ~loose;
        if (differing === 0) continue;
        const isLegal = (differing & ~(this.#stale?.looseBits(address) ?? 0)) === 0;
        yield { address, expected, got, isLegal };
      }
    }
  }

  #take(record: TraceCursor, crossings: Crossings): void {
    const address = addressOf(record.xLow, record.xHigh);
    switch (record.type) {
      case RecordType.ptpage: {
        const words = new Int32Array(PAGE_BYTES / 4);
        for (let index = 0; index < words.length; index++) words[index] = record.payloadWord(index);
        this.#pages.set(address, words);
        break;
      }
      case RecordType.ptw:
        this.#store(address, record.a, record.yLow, record.yHigh, crossings.get(record.index));
        break;
      case RecordType.ad:
        this.#store(address, record.b, record.zLow, record.zHigh, undefined);
        break;
      case RecordType.unpt:
        this.#pages.delete(address);
        break;
      default:
    }
  }

  #store(address: number, size: number, low: number, high: number, nextPage: number | undefined): void {
    const split = PAGE_BYTES - (address % PAGE_BYTES);
    for (let index = 0; index < size; index++) {
      const byte = ((index < 4 ? low : high) >>> ((index % 4) * 8)) & 0xff;
      if (index < split) this.#storeByte(address + index, byte);
      else if (nextPage !== undefined) this.#storeByte(nextPage + index - split, byte);
    }
  }

  #storeByte(address: number, byte: number): void {
    const offset = address % PAGE_BYTES;
    const words = this.#pages.get(address - offset);
    if (words === undefined) return;
    const shift = (offset % 4) * 8;
    const word = words[offset >>> 2] ?? 0;
    words[offset >>> 2] = (word & ~(0xff << shift)) | (byte << shift);
  }
}

/** A mismatch as text. */
export function tableMismatchText({ address, expected, got }: TableMismatch): string {
  return `the table word at ${hex64(address | 0, Math.floor(address / 2 ** 32))} is ${hex64(got, 0)}, not ${hex64(expected, 0)}`;
}
