/**
 * A bits that the recorded hardware set in upper entries on the way to a refusal. Manuals allow that; the hypervisor's
 * guest walk sets A only when all has passed (spec 20.8). So such a bit may be missing in the replay, until the guest
 * stores to the entry.
 */
import { addressOf } from "../../guest/trace/address.ts";
import type { TraceCursor } from "../../guest/trace/cursor.ts";
import { RecordType } from "../../guest/trace/record.ts";
import { PAGE_BYTES } from "../../memory/units.ts";

const ACCESSED = 0x20;

/** Follows a trace; has to be told every record, in order. */
export class RefusedWalks {
  /** Addresses of entries whose A may be missing. */
  readonly #entries = new Set<number>();
  /** By CPU: the entries of the AD records since its last other record. */
  readonly #walks: number[][];

  constructor(cpus: number) {
    this.#walks = Array.from({ length: cpus }, () => []);
  }

  /** Takes in a record. */
  note(record: TraceCursor): void {
    switch (record.type) {
      case RecordType.ad:
        this.#walks[record.cpu]?.push(addressOf(record.xLow, record.xHigh));
        return;
      case RecordType.ptw:
        if (this.#entries.size !== 0) this.#settle(addressOf(record.xLow, record.xHigh), record.a);
        break;
      case RecordType.ptpage:
        if (this.#entries.size !== 0) this.#settle(addressOf(record.xLow, record.xHigh), PAGE_BYTES);
        break;
      default:
    }
    const walk = this.#walks[record.cpu];
    if (walk === undefined || walk.length === 0) return;
    if (record.type !== RecordType.fill) for (const entry of walk) this.#entries.add(entry);
    walk.length = 0;
  }

  /** The bits of the word at an address that may be missing: A, or none. */
  looseBits(address: number): number {
    return this.#entries.size !== 0 && this.#entries.has(address) ? ACCESSED : 0;
  }

  /** What is stored to an entry is there in the replay too. */
  #settle(address: number, bytes: number): void {
    for (const entry of this.#entries) {
      if (entry >= address && entry < address + bytes) this.#entries.delete(entry);
    }
  }
}
