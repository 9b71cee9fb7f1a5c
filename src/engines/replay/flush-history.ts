/** When a recorded CPU last gave up its translations: all of them, or those of one page. From the trace alone. */
import type { TraceCursor } from "../../guest/trace/cursor.ts";
import { RecordType } from "../../guest/trace/record.ts";

/** Follows one CPU's records; has to be told each of them, in order. */
export class FlushHistory {
  /** Record of the last load of a control register. */
  #flushed = 0;
  /** Records of the last invalidation of single pages since. */
  readonly #invalidated = new Map<string, number>();

  /** Takes in a record of the CPU. */
  note(record: TraceCursor): void {
    if (record.type === RecordType.cr || record.type === RecordType.efer) {
      this.#flushed = record.index;
      this.#invalidated.clear();
    } else if (record.type === RecordType.invlpg) this.#invalidated.set(pageOf(record), record.index);
  }

  /** The record since which the CPU may have kept a translation of the page of a record. */
  lastFlush(record: TraceCursor): number {
    return Math.max(this.#flushed, this.#invalidated.get(pageOf(record)) ?? 0);
  }
}

function pageOf({ xLow, xHigh }: TraceCursor): string {
  return `${String(xHigh)} ${String(xLow >>> 12)}`;
}
