/**
 * Bringing every shadow of a guest table up to date with what was stored into it (spec 5.5). Low levels come before
 * high ones: another vCPU must not see the new upper entry with the old lower one.
 */
import { Counter } from "../../memory/counters.ts";
import { SHADOWED } from "../../memory/frame-table.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { frameOfEntry } from "../../machine/entry.ts";
import { isAbsentEntry, ramInP2mEntry } from "../p2m-type.ts";
import { Fetch } from "./propagate.ts";
import { SetResult } from "./set-entry.ts";
import {
  ShadowType,
  childTypeOf,
  fakeLeafTypeOf,
  formatOfType,
  levelOfType,
  superpagePages,
} from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PRESENT = 1;
const VALIDATION_ORDER: readonly number[] = [
  ShadowType.l1_32,
  ShadowType.l2_32,
  ShadowType.l1_pae,
  ShadowType.l2_pae,
  ShadowType.l1_64,
  ShadowType.l2_64,
  ShadowType.l3_64,
  ShadowType.l4_64,
];
const CALLS: readonly number[] = [
  0,
  Counter.validate_gl1e_calls,
  Counter.validate_gl2e_calls,
  Counter.validate_gl3e_calls,
  Counter.validate_gl4e_calls,
];

/** Re-propagates guest entries into existing shadows; never makes one. Callers hold the paging lock. */
export class Validation {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Validates the bytes `offset` to `offset + size - 1` of a guest page. A bad entry has become absent by then; the
   * page that holds it probably is no pagetable and is unshadowed.
   */
  validate(frame: Mfn, offset: number, size: number): void {
    const { frames, unshadow } = this.#shadow;
    if ((frames.shadowFlags(frame) & SHADOWED) === 0) return;
    let result = 0;
    // The flags are read again each time: one step can take the page's other shadows away.
    for (const type of VALIDATION_ORDER)
      if (((frames.shadowFlags(frame) >>> type) & 1) !== 0)
        result |= this.#validateType(frame, type, offset, size);
    if ((result & SetResult.flush) !== 0) this.#shadow.flushAll();
    if ((result & SetResult.error) !== 0) unshadow.removeShadows(frame, false, false);
  }

  #validateType(frame: Mfn, type: number, offset: number, size: number): number {
    const { frames, hash, counters } = this.#shadow;
    counters.add(Counter.get_shadow_status);
    const format = formatOfType(type);
    const entryShift = format === 2 ? 2 : 3;
    const last = (offset + size - 1) >>> entryShift;
    let result = 0;
    for (let index = offset >>> entryShift; index <= last; index++) {
      if (((frames.shadowFlags(frame) >>> type) & 1) === 0) break;
      const shadow = hash.lookup(frame, type);
      if (shadow === 0) break;
      const level = levelOfType(type);
      counters.add(CALLS[level] ?? 0);
      result |=
        level === 1
          ? this.#validateLeaf(frame, shadow, type, index, format)
          : this.#validateUpper(frame, shadow, type, index, format);
    }
    return result;
  }

  #validateLeaf(table: Mfn, shadow: Mfn, type: number, index: number, format: number): number {
    const { tables, propagation, entries, outOfSync } = this.#shadow;
    this.propagateLeafEntry(table, index, format);
    const { guestLow, guestHigh } = tables;
    const cell = tables.cellOf(shadow, type, index);
    const result = entries.setLeaf(cell, propagation.low, propagation.high);
    if (outOfSync.isShadowOutOfSync(shadow))
      outOfSync.snapshots.noteMade(table, index, format, guestLow, guestHigh);
    return result;
  }

  /** Propagates entry `index` of a guest leaf table as a prefetch would. */
  propagateLeafEntry(table: Mfn, index: number, format: number): void {
    const { tables, propagation, p2m } = this.#shadow;
    tables.readGuest(table, index, format);
    const { guestLow, guestHigh } = tables;
    if ((guestLow & PRESENT) !== 0 && propagation.guest.isReserved(format, 1, guestLow, guestHigh)) {
      // A reserved entry maps nothing; the walk will answer it with RSVD.
      propagation.low = 0;
      propagation.high = 0;
      return;
    }
    const gfn = frameOfEntry(guestLow, guestHigh);
    propagation.leaf(guestLow, guestHigh, p2m.entryOf(gfn), gfn, format, Fetch.prefetch);
  }

  #validateUpper(table: Mfn, shadow: Mfn, type: number, index: number, format: number): number {
    const { tables, propagation, entries, guest } = this.#shadow;
    tables.readGuest(table, index, format);
    const { guestLow, guestHigh } = tables;
    const level = levelOfType(type);
    const isLarge = level === 2 && propagation.honoursPageSize(guestLow, format);
    let child = mfn(0);
    let error = 0;
    if ((guestLow & PRESENT) !== 0 && !guest.isReserved(format, level, guestLow, guestHigh)) {
      if (isLarge) child = this.#superpage(guestLow, guestHigh, format);
      else {
        child = this.#childTable(guestLow, guestHigh, type);
        if (child === NO_MFN) error = SetResult.error;
      }
    }
    // A new path to tables below, for which the guest need not flush: nothing there may be out of date.
    if (level > 2 && child > 0) this.#shadow.outOfSync.resyncAll();
    propagation.upper(guestLow, guestHigh, child, format, isLarge);
    return (
      error | entries.setUpper(tables.cellOf(shadow, type, index), propagation.low, propagation.high, type)
    );
  }

  #superpage(guestLow: number, guestHigh: number, format: number): Mfn {
    const start = frameOfEntry(guestLow, guestHigh) & -superpagePages(format);
    return this.#shadow.hash.lookup(start, fakeLeafTypeOf(format));
  }

  /** The shadow of the table that an entry names: 0 when it has none, or is away; NO_MFN when it is not memory. */
  #childTable(guestLow: number, guestHigh: number, type: number): Mfn {
    const { p2m, hash, counters } = this.#shadow;
    const entry = p2m.entryOf(frameOfEntry(guestLow, guestHigh));
    const frame = ramInP2mEntry(entry);
    if (frame === NO_MFN) return isAbsentEntry(entry) ? mfn(0) : NO_MFN;
    counters.add(Counter.get_shadow_status);
    return hash.lookup(frame, childTypeOf(type));
  }
}
