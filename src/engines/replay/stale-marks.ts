/**
 * A bits that may be missing although the recorded hardware set them, with out-of-sync shadows on. The guest took A out of an
 * entry and did not flush. The recorded CPU had dropped its translation all the same, walked again and set A; one that had
 * kept it, as an out-of-sync shadow does, need not. So a missing A is legal if, between the store that cleared it and the walk
 * that set it, that CPU neither loaded a control register nor invalidated the page: each is proved from the trace alone.
 */
import { addressOf } from "../../guest/trace/address.ts";
import type { TraceCursor } from "../../guest/trace/cursor.ts";
import { RecordType } from "../../guest/trace/record.ts";
import { PAGE_BYTES } from "../../memory/units.ts";
import { FlushHistory } from "./flush-history.ts";

const PRESENT = 1;
const ACCESSED = 0x20;

/** What one recorded CPU did that matters here. */
class Cpu {
  readonly flushes = new FlushHistory();
  /** Entries in which it has set A on the walk at hand. */
  readonly walk: number[] = [];
}

/** Follows a trace; has to be told every record, in order. */
export class StaleMarks {
  readonly #cpus: readonly Cpu[];
  /** By address of an entry: the record of the store that took A out of it and changed nothing else. */
  readonly #cleared = new Map<number, number>();
  /** Addresses of entries whose A may be missing. */
  readonly #missing = new Set<number>();

  constructor(cpus: number) {
    this.#cpus = Array.from({ length: cpus }, () => new Cpu());
  }

  /** Takes in a record. */
  note(record: TraceCursor): void {
    const cpu = this.#cpus[record.cpu];
    if (cpu === undefined) return;
    cpu.flushes.note(record);
    switch (record.type) {
      case RecordType.ad:
        if ((record.c & ACCESSED) !== 0) cpu.walk.push(addressOf(record.xLow, record.xHigh));
        return;
      case RecordType.fill:
        this.#noteFill(cpu, record);
        break;
      case RecordType.ptw:
        this.#noteStore(record);
        break;
      case RecordType.ptpage:
        this.#settle(addressOf(record.xLow, record.xHigh), PAGE_BYTES);
        break;
      default:
    }
    cpu.walk.length = 0;
  }

  /** The bits of the word at an address that may be missing: A, or none. */
  looseBits(address: number): number {
    return this.#missing.has(address) ? ACCESSED : 0;
  }

  #noteFill(cpu: Cpu, record: TraceCursor): void {
    const flushed = cpu.flushes.lastFlush(record);
    for (const entry of cpu.walk) {
      const cleared = this.#cleared.get(entry);
      if (cleared !== undefined && flushed < cleared) this.#missing.add(entry);
    }
  }

  #noteStore({ index, a, xLow, xHigh, yLow, yHigh, zLow, zHigh }: TraceCursor): void {
    const address = addressOf(xLow, xHigh);
    this.#settle(address, a);
    const hadBoth = (zLow & (PRESENT | ACCESSED)) === (PRESENT | ACCESSED);
    if (address % 4 === 0 && hadBoth && (zLow ^ yLow) === ACCESSED && (a < 8 || yHigh === zHigh))
      this.#cleared.set(address, index);
  }

  /** What is stored is there in the replay too. */
  #settle(address: number, bytes: number): void {
    for (let at = address - (address % 4); at < address + bytes; at += 4) {
      this.#cleared.delete(at);
      this.#missing.delete(at);
    }
  }
}
