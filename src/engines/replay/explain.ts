/** Mismatches for people: the record, the guest's walk and the shadows' side by side, and the last store to each entry. */
import { addressOf, hex64 } from "../../guest/trace/address.ts";
import { TraceCursor } from "../../guest/trace/cursor.ts";
import { RecordType } from "../../guest/trace/record.ts";
import { PAGE_BYTES } from "../../memory/units.ts";
import type { Mismatch } from "./outcome.ts";
import { describePage, describeStore } from "./record-text.ts";

/** A mismatch as lines of text. */
export function explain(mismatch: Mismatch, words: Int32Array): string[] {
  const { what, guestWalk, shadowWalk, entries, record } = mismatch;
  const lines = [what];
  if (guestWalk.length + shadowWalk.length > 0) lines.push(...sideBySide(guestWalk, shadowWalk));
  const stores = lastStores(words, entries, record);
  for (const [index, address] of entries.entries()) {
    const at = hex64(address | 0, Math.floor(address / 2 ** 32));
    lines.push(`  last store to the entry at ${at}: ${stores[index] ?? "none recorded"}`);
  }
  return lines;
}

function sideBySide(guest: readonly string[], shadow: readonly string[]): string[] {
  const left = ["guest walk", ...guest];
  const right = ["shadow walk", ...shadow];
  const width = Math.max(...left.map((line) => line.length)) + 2;
  return Array.from({ length: Math.max(left.length, right.length) }, (_, index) =>
    `  ${(left[index] ?? "").padEnd(width)}${right[index] ?? ""}`.trimEnd(),
  );
}

/** What was last recorded to store to each address before a record: of a PTW, or the page of a PTPAGE. */
function lastStores(words: Int32Array, addresses: readonly number[], before: number): (string | undefined)[] {
  const found: (string | undefined)[] = addresses.map(() => undefined);
  for (const record = new TraceCursor(words); record.next() && record.index < before;) {
    const isPage = record.type === RecordType.ptpage;
    if (!isPage && record.type !== RecordType.ptw) continue;
    const start = addressOf(record.xLow, record.xHigh);
    const end = start + (isPage ? PAGE_BYTES : record.a);
    for (const [index, address] of addresses.entries()) {
      if (address + ENTRY_BYTES_MAX <= start || address >= end) continue;
      found[index] = isPage ? describePage(record) : describeStore(record);
    }
  }
  return found;
}

/** An entry may be half of that; then its neighbour's stores show too, which does no harm. */
const ENTRY_BYTES_MAX = 8;
