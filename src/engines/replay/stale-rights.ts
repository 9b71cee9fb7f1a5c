/**
 * Rights that a replayed access may have although the recorded one did not, with out-of-sync shadows on. The guest took
 * rights out of a leaf entry and did not flush. The recorded CPU had dropped its translation all the same, and walked again;
 * one that had kept it, as an out-of-sync shadow does, still has the rights of before. So they are legal if the entry granted
 * them, in the same frame, at some time since that CPU last loaded a control register or invalidated the page: this is proved
 * from the trace and the upper entries of now, which are never out of sync. Where an access leads to is never excused.
 */
import { addressOf } from "../../guest/trace/address.ts";
import type { TraceCursor } from "../../guest/trace/cursor.ts";
import { FillRight, RecordType, isUserFill } from "../../guest/trace/record.ts";
import { Rights, narrowRights, permits } from "../../machine/access-rights.ts";
import { frameOfEntry } from "../../machine/entry.ts";
import { FaultCode } from "../../machine/fault-code.ts";
import type { Vcpu } from "../../machine/vcpu.ts";
import { WalkMode } from "../../machine/walker.ts";
import { PAGE_BYTES } from "../../memory/units.ts";
import { FlushHistory } from "./flush-history.ts";
import type { GuestView } from "./guest-view.ts";

const PRESENT = 1;
const ACCESSED = 0x20;
const DIRTY = 0x40;
/** Values of one entry that are remembered: of more the oldest are forgotten, and prove nothing. */
const REMEMBERED = 16;

/** A value that an entry had until a store. */
interface Former {
  /** Record of the store. */
  readonly until: number;
  /** Null while that half is as it is now: only the other one was stored to. */
  low: number | null;
  high: number | null;
}

/** Follows a trace; has to be told every record, in order. */
export class StaleRights {
  readonly #cpus: readonly FlushHistory[];
  /** By guest physical address of an entry. */
  readonly #former = new Map<number, Former[]>();

  constructor(cpus: number) {
    this.#cpus = Array.from({ length: cpus }, () => new FlushHistory());
  }

  /** Takes in a record. */
  note(record: TraceCursor): void {
    this.#cpus[record.cpu]?.note(record);
    if (record.type === RecordType.ptw) this.#noteStore(record);
    else if (record.type === RecordType.ptpage)
      this.#forget(addressOf(record.xLow, record.xHigh), PAGE_BYTES);
  }

  /**
   * Whether an access that was done in a frame may have been: one value of the guest's leaf entry granted all of it, of a FILL
   * the rights `granted` (bits of `FillRight`), of a PF the access itself.
   */
  isLegal(record: TraceCursor, granted: number, frame: number, vcpu: Vcpu, view: GuestView): boolean {
    const since = this.#cpus[record.cpu]?.lastFlush(record) ?? Infinity;
    view.observe(record.xLow, record.xHigh, vcpu.accessBits, true);
    const leaf = leafOf(view);
    if (leaf === undefined) return false;
    for (const former of this.#former.get(leaf.address) ?? []) {
      const low = former.low ?? leaf.low;
      const { until, high } = former;
      const wholeHigh = view.format() === 2 ? 0 : (high ?? leaf.high);
      const isUsed = (low & (PRESENT | ACCESSED)) === (PRESENT | ACCESSED);
      if (until <= since || !isUsed || frameOfEntry(low, wholeHigh) !== frame) continue;
      const rights = narrowRights(leaf.rightsAbove, low, wholeHigh);
      // A translation whose D is clear is looked up again by a store.
      const kept = (low & DIRTY) === 0 ? rights & ~Rights.writable : rights;
      if (grants(kept, record, granted, vcpu, view)) return true;
    }
    return false;
  }

  /** What an entry was before a store to all of it, or to half of it. Other stores leave nothing to prove by. */
  #noteStore({ index, a, xLow, xHigh, zLow, zHigh }: TraceCursor): void {
    const address = addressOf(xLow, xHigh);
    if (a < 4 || address % a !== 0) {
      this.#forget(address, a);
      return;
    }
    this.#remember(address, { until: index, low: zLow, high: a === 8 ? zHigh : null });
    // The high half of an entry of 8 bytes. Of two entries of 4 this says nothing that is not so.
    if (a === 4 && address % 8 === 4) this.#remember(address - 4, { until: index, low: null, high: zLow });
  }

  /** What was not known of older values, because it had not changed since, is known now. */
  #remember(address: number, former: Former): void {
    const list = this.#former.get(address) ?? [];
    for (const older of list) {
      older.low ??= former.low;
      older.high ??= former.high;
    }
    list.push(former);
    if (list.length > REMEMBERED) list.shift();
    this.#former.set(address, list);
  }

  #forget(address: number, bytes: number): void {
    for (let at = address - (address % 8); at < address + bytes; at += 4) this.#former.delete(at);
  }
}

/** The level 1 entry of the walk that was observed last, and what the levels above grant; undefined if it reached none. */
function leafOf(
  view: GuestView,
):
  | { readonly address: number; readonly low: number; readonly high: number; readonly rightsAbove: number }
  | undefined {
  const { walk } = view;
  const cell = walk.entryCell[1] ?? 0;
  if (cell === 0) return undefined;
  let rightsAbove: number = Rights.all;
  // PDPTEs have no rights.
  const top = view.format() === 3 ? 2 : view.format();
  for (let level = 2; level <= top; level++)
    rightsAbove = narrowRights(rightsAbove, walk.entryLow[level] ?? 0, walk.entryHigh[level] ?? 0);
  const address = view.guestFrameOf(cell >>> 10) * PAGE_BYTES + (cell & 1023) * 4;
  return { address, low: walk.entryLow[1] ?? 0, high: walk.entryHigh[1] ?? 0, rightsAbove };
}

function grants(
  rights: number,
  { type, b, c }: TraceCursor,
  wanted: number,
  vcpu: Vcpu,
  view: GuestView,
): boolean {
  const mode = view.mode(vcpu.alignmentCheck);
  if (type !== RecordType.fill) {
    const asked = c & (FaultCode.write | FaultCode.fetch);
    return permits(rights, asked | vcpu.accessBits, mode | WalkMode.wp);
  }
  const isSmepRefused = !isUserFill(b) && (rights & Rights.user) !== 0 && (mode & WalkMode.smep) !== 0;
  const canExecute = (rights & Rights.executable) !== 0 && !isSmepRefused;
  const granted =
    FillRight.read |
    ((rights & Rights.writable) === 0 ? 0 : FillRight.write) |
    (canExecute ? FillRight.execute : 0);
  return (wanted & ~granted) === 0;
}
