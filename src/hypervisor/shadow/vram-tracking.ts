/**
 * Which pages of a frame buffer have changed, by the D bits of shadow leaves (spec 11.8). Shadow leaves begin with D clear
 * and hardware sets it, so the D of a page's only mapping, if it is known where that is, says whether the page was written
 * since D was last cleared. A page with more mappings than one counts as changed.
 *
 * Told from Xen's, nothing is lost: D is taken from a leaf in the same access that replaces it (spec 20.58), a look flushes
 * for mappings that have gone without a flush, and stores that are emulated count, too.
 */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { NO_MFN } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { Revoked } from "./revoke.ts";
import { refersToFrame } from "./shadow-entry.ts";
import type { Shadow } from "./shadow.ts";

const WRITABLE = 2;
const DIRTY = 64;
/** After so long without a change all write access is taken away, and nothing is scanned until a write faults. */
const IDLE_MS = 2000;

/** Tracks the frame buffer of `logDirty.vram`. Callers hold the paging lock, but for `isOn`. */
export class VramTracking {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** Whether there is a frame buffer to track. */
  isOn(): boolean {
    return this.#shadow.logDirty.vram.isOn();
  }

  /** No mapping is left, so that each is met when it is made. Those that go have nothing to tell. */
  begin(first: number, pages: number, milliseconds: number): void {
    const { unshadow, logDirty } = this.#shadow;
    unshadow.blowTables();
    logDirty.vram.startTracking(first, pages, milliseconds);
  }

  /**
   * Rule 12 of propagation: while the frame buffer is still, only a leaf that a write demands is writable, and ends the
   * stillness.
   */
  refusesWrites(gfn: number, isWritten: boolean): boolean {
    const { domain, logDirty } = this.#shadow;
    if (domain.read(DomainCell.vramIdle) === 0 || logDirty.vram.placeOf(gfn) < 0) return false;
    if (!isWritten) return true;
    domain.write(DomainCell.vramIdle, 0);
    domain.write(DomainCell.vramChanged, 1);
    return false;
  }

  /**
   * Stores a leaf, whose own reference to its page is taken already and that of the leaf before not yet dropped. D of the
   * leaf before is what it was when it was replaced: hardware sets it at any time.
   */
  replaceLeaf(cell: number, low: number, high: number): void {
    const { memory } = this.#shadow;
    if ((low & WRITABLE) !== 0 && refersToFrame(low, high)) this.gain(cell, this.#shadow.frameIn(low, high));
    let oldLow = memory.loadEntry(cell);
    let oldHigh = memory.high;
    while (!memory.compareExchangeEntry(cell, oldLow, oldHigh, low, high)) {
      oldLow = memory.low;
      oldHigh = memory.high;
    }
    if ((oldLow & WRITABLE) !== 0 && refersToFrame(oldLow, oldHigh))
      this.lose(cell, this.#shadow.frameIn(oldLow, oldHigh), (oldLow & DIRTY) !== 0);
  }

  /** A leaf lets a page be written: if no other does, its place is kept. */
  gain(cell: number, frame: Mfn): void {
    const { frames, logDirty } = this.#shadow;
    const index = logDirty.vram.placeOf(frames.back(frame));
    if (index >= 0 && frames.typecount(frame) === 1) logDirty.vram.setMapping(index, cell);
  }

  /** A leaf lets a page be written no more. If it was the only one, and known, its D says whether the page has changed. */
  lose(cell: number, frame: Mfn, isDirty: boolean): void {
    const { frames, logDirty, domain } = this.#shadow;
    const { vram } = logDirty;
    const index = vram.placeOf(frames.back(frame));
    if (index < 0) return;
    const isKnown = vram.mappingOf(index) === cell;
    if (isKnown) vram.setMapping(index, 0);
    if (isDirty || !isKnown || frames.typecount(frame) !== 1) vram.setDirty(index);
    // The guest owes a flush for its mapping, but a display cannot wait for it.
    domain.write(DomainCell.vramUnflushed, 1);
  }

  /** Hands over what has changed, and has every vCPU flush whose TLB could let a page be written unseen. */
  look(bitmap: Int32Array, milliseconds: number): number {
    const { domain, logDirty } = this.#shadow;
    if (domain.read(DomainCell.vramIdle) === 0) {
      this.#scan();
      if (domain.read(DomainCell.vramChanged) !== 0) {
        domain.write(DomainCell.vramChangedAt, milliseconds);
        domain.write(DomainCell.vramChanged, 0);
      } else if (((milliseconds - domain.read(DomainCell.vramChangedAt)) | 0) > IDLE_MS) this.#protect();
    }
    if (domain.read(DomainCell.vramUnflushed) !== 0) this.#shadow.flushAll();
    domain.write(DomainCell.vramUnflushed, 0);
    return logDirty.vram.takeBits(bitmap);
  }

  #scan(): void {
    const { p2m, logDirty, counters } = this.#shadow;
    const { vram } = logDirty;
    counters.add(Counter.vram_scans);
    for (let index = 0; index < vram.pageCount(); index++) {
      const frame = p2m.frameOf(vram.firstPage() + index);
      if (frame !== NO_MFN && this.#hasChanged(frame, index)) vram.setDirty(index);
    }
  }

  #hasChanged(frame: Mfn, index: number): boolean {
    const { frames, logDirty, unshadow, counters } = this.#shadow;
    const writers = frames.typecount(frame);
    // What its last mapping did was noted when that went.
    if (writers === 0) return false;
    if (writers > 1) return true;
    const cell = logDirty.vram.mappingOf(index);
    if (cell !== 0) return this.#testAndClearDirty(cell);
    counters.add(Counter.vram_unknown);
    unshadow.removeAllMappings(frame);
    return true;
  }

  #testAndClearDirty(cell: number): boolean {
    const { memory, domain } = this.#shadow;
    let low = memory.loadEntry(cell);
    let { high } = memory;
    if ((low & DIRTY) === 0) return false;
    while (!memory.compareExchangeEntry(cell, low, high, low & ~DIRTY, high)) {
      low = memory.low;
      high = memory.high;
    }
    // A TLB that has seen D does not look again.
    domain.write(DomainCell.vramUnflushed, 1);
    return true;
  }

  /** Takes write access to all of it. What was written until then is told by this look. */
  #protect(): void {
    const { p2m, logDirty, revocation, domain, counters } = this.#shadow;
    const { vram } = logDirty;
    counters.add(Counter.vram_protected);
    for (let index = 0; index < vram.pageCount(); index++) {
      const frame = p2m.frameOf(vram.firstPage() + index);
      if (frame !== NO_MFN && revocation.revokeWriteAccess(frame, 1, 0, 0) === Revoked.flush)
        domain.write(DomainCell.vramUnflushed, 1);
    }
    domain.write(DomainCell.vramIdle, 1);
  }
}
