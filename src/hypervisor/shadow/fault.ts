/**
 * The page-fault handler (spec 4). Steps in the order that is load-bearing: walk, preallocate, revoke, flush, check the
 * walk, build the chain, propagate, prefetch, emulate. All but the walk and the emulation run under the paging lock; those
 * two as well, unless their switches say otherwise. With per-page locks a fault that finds its shadows there, and its
 * tables known as such, holds a part of it from the walk on.
 */
import { Counter } from "../../memory/counters.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { FaultAnswer } from "../../machine/exits.ts";
import { ARCHITECTURAL_FAULT_BITS } from "../../machine/fault-code.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { P2mType, isAbsentEntry, isReadOnlyEntry, mappedInP2mEntry } from "../p2m-type.ts";
import { FaultConclusion } from "./conclude-fault.ts";
import { SLOW_PATH } from "./fast-path.ts";
import { SUPERPAGE_ENTRY } from "./prefetch.ts";
import { Fetch } from "./propagate.ts";
import { Revoked } from "./revoke.ts";
import { leafTypeOf } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const FAULT = Counter.fault;
const FAULT_BAIL_REAL_FAULT = Counter.fault_bail_real_fault;
const FAULT_CACHED_MMIO = Counter.fault_cached_mmio;
const GUEST_WALK = Counter.guest_walk;
const RM_WRITE_FLUSH_TLB = Counter.rm_write_flush_tlb;
const TRANSLATION_CACHE_HITS = Counter.translation_cache_hits;
const ANSWER_EMULATED = FaultAnswer.emulated;
const ANSWER_INJECT = FaultAnswer.inject;
const ANSWER_RETRY = FaultAnswer.retry;
const ANSWER_STOP = FaultAnswer.stop;
const SITE_PAGE_FAULT = LockSite.page_fault;
const REVOKED_FLUSH = Revoked.flush;
const EMULATED = P2mType.mmioDm;
const FETCH_READ = Fetch.demandRead;
const FETCH_WRITE = Fetch.demandWrite;

const WRITE = 2;
const USER = 4;
const RESERVED = 8;
const FETCH = 16;
const IMPLICIT = 1 << 18;
/** Answers within this file, beside those of `FaultConclusion`: walk again; a part of the lock is not enough. */
const AGAIN = -2;
const WHOLE = -5;

/** Handles page faults of one vCPU. */
export class FaultHandler {
  readonly #shadow: Shadow;
  readonly #conclusion: FaultConclusion;
  /** What the p2m said of the page that a leaf was made for in part. */
  #entry = 0;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
    this.#conclusion = new FaultConclusion(shadow);
  }

  /** Handles a fault at `vcpu.faultLow/High` with hardware's error code. Answers a `FaultAnswer`. */
  handle(errorCode: number): number {
    const { vcpu, switches, translations } = this.#shadow;
    const answer = this.#answer(errorCode);
    if (answer === ANSWER_INJECT && switches["translation-cache"])
      translations.forgetPage(vcpu.faultLow, vcpu.faultHigh);
    return answer;
  }

  #answer(errorCode: number): number {
    const { counters, switches, fastPath, domain, fastEmulate, perPage } = this.#shadow;
    const conclusion = this.#conclusion;
    counters.add(FAULT);
    if (domain.isDead()) return ANSWER_STOP;
    if (switches["fast-fault-path"] && (errorCode & RESERVED) !== 0) {
      const answer = fastPath.answer(errorCode);
      if (answer !== SLOW_PATH) return answer;
    }
    conclusion.begin();
    if (switches["fast-emulate"]) {
      const answer = fastEmulate.answer(errorCode);
      if (answer !== SLOW_PATH) return conclusion.afterHold(answer);
    }
    if (switches["translation-cache"] && this.#isCachedMmio(errorCode))
      return conclusion.afterHold(ANSWER_EMULATED);
    const inPart = perPage.isOn ? this.#walkInPart(errorCode) : WHOLE;
    if (inPart !== WHOLE) return conclusion.afterHold(inPart);
    return conclusion.afterHold(
      switches["lock-free-walk"] ? this.#walkWithoutLock(errorCode) : this.#walkWithLock(errorCode),
    );
  }

  /** Whether a device is where the access was last translated to, which is for `#afterHold` then. */
  #isCachedMmio(errorCode: number): boolean {
    const { vcpu, counters, p2m, emulation, translations } = this.#shadow;
    if (emulation.crossesPages()) return false;
    const gfn = translations.gfnOf(vcpu.faultLow, vcpu.faultHigh, this.#accessOf(errorCode));
    if (gfn < 0 || p2m.entryOf(gfn) !== EMULATED) return false;
    counters.add(FAULT_CACHED_MMIO);
    counters.add(TRANSLATION_CACHE_HITS);
    emulation.resetEarlyUnshadow();
    this.#conclusion.goToDevice(gfn);
    return true;
  }

  /** What an access that faulted asks for, as in an access word. */
  #accessOf(errorCode: number): number {
    return (errorCode & (WRITE | USER | FETCH)) | (this.#shadow.vcpu.accessBits & IMPLICIT);
  }

  /** Walks and all the rest in one hold of the lock. */
  #walkWithLock(errorCode: number): number {
    const { lock } = this.#shadow;
    lock.acquire(SITE_PAGE_FAULT);
    let answer: number;
    do answer = this.#walk(errorCode) ? this.#attempt(errorCode) : this.#refuse();
    while (answer === AGAIN);
    lock.release();
    return answer;
  }

  /** Walks first, and takes the lock only if the guest's tables permit the access. */
  #walkWithoutLock(errorCode: number): number {
    const { lock, freeWalk } = this.#shadow;
    for (;;) {
      freeWalk.begin();
      if (!this.#walk(errorCode)) return this.#refuse();
      lock.acquire(SITE_PAGE_FAULT);
      const answer = this.#attempt(errorCode);
      lock.release();
      if (answer !== AGAIN) return answer;
    }
  }

  /**
   * Walks and all the rest with a part of the lock. What the walk goes through stands still but for the leaf's table, whose
   * entry is looked at again under its lock. WHOLE, and nothing was done, if more than a part is needed.
   */
  #walkInPart(errorCode: number): number {
    const { perPage } = this.#shadow;
    let answer: number;
    do {
      if (!perPage.tryBegin(SITE_PAGE_FAULT)) return WHOLE;
      answer = this.#walk(errorCode) ? this.#attemptInPart(errorCode) : this.#refuse();
      perPage.end();
    } while (answer === AGAIN);
    return answer;
  }

  /** The slow path from the walk on, as far as it goes without a change to what others may rely on. */
  #attemptInPart(errorCode: number): number {
    const { guest, domain, perPage } = this.#shadow;
    if (domain.isDead()) return ANSWER_STOP;
    const format = guest.format();
    if (this.#hasNewTable(format)) return WHOLE;
    const cell = perPage.leafCell(format, (errorCode & WRITE) !== 0);
    if (cell === 0) return WHOLE;
    perPage.lockTable(perPage.tableOfLeaf(cell), SITE_PAGE_FAULT);
    const answer = this.#fillInPart(errorCode, cell, format);
    perPage.unlockTable();
    if (answer !== ANSWER_EMULATED) return answer;
    const { frame } = guest.walker;
    return this.#conclusion.conclude(errorCode, frame, this.#entry);
  }

  /** Makes the leaf of the walk; `emulated` if it was, and the fault is to be concluded. Callers hold its table's lock. */
  #fillInPart(errorCode: number, cell: number, format: number): number {
    const { guest, p2m, wanted, freeWalk, perPage } = this.#shadow;
    if (!freeWalk.isLeafStillTrue()) return AGAIN;
    const gfn = guest.walker.frame;
    const entry = p2m.entryOf(gfn);
    if (isAbsentEntry(entry)) {
      wanted.gfn = gfn;
      return ANSWER_RETRY;
    }
    const isUserWrite = (errorCode & (WRITE | USER)) === (WRITE | USER);
    if ((errorCode & WRITE) !== 0 && !perPage.mayAnswer(mappedInP2mEntry(entry), isUserWrite)) return WHOLE;
    this.#entry = entry;
    this.#fillLeaf(errorCode, cell, gfn, entry, format);
    return ANSWER_EMULATED;
  }

  /** Walks the guest's tables for the access that faulted; true when they permit it. */
  #walk(errorCode: number): boolean {
    const { vcpu, counters, guest, translations, logDirty } = this.#shadow;
    const access = this.#accessOf(errorCode);
    counters.add(GUEST_WALK);
    const passed = guest.walk(vcpu.faultLow, vcpu.faultHigh, access, vcpu.alignmentCheck);
    if (passed) {
      logDirty.markWalk(guest.walker);
      translations.noteWalk(vcpu.faultLow, vcpu.faultHigh, access);
    }
    return passed;
  }

  /** The guest's own fault. */
  #refuse(): number {
    const { vcpu, counters, guest, domain, emulation, outOfSync, wanted } = this.#shadow;
    if (domain.isDead()) return ANSWER_STOP;
    wanted.gfn = guest.absentTable();
    if (wanted.gfn >= 0) return ANSWER_RETRY;
    counters.add(FAULT_BAIL_REAL_FAULT);
    outOfSync.noteRefusal();
    emulation.resetEarlyUnshadow();
    vcpu.faultErrorCode = guest.walker.errorCode & ARCHITECTURAL_FAULT_BITS;
    return ANSWER_INJECT;
  }

  /** The slow path from the walk on; AGAIN when the guest's tables changed under the walk. */
  #attempt(errorCode: number): number {
    const { counters, guest, domain, pool, p2m, freeWalk, switches, outOfSync, wanted } = this.#shadow;
    if (domain.isDead()) return ANSWER_STOP;
    const format = guest.format();
    // Before revocation: preallocation can destroy any shadow, and with it what revocation relied on.
    if (!pool.prealloc(leafTypeOf(format), format === 4 ? 3 : 1)) return ANSWER_STOP;
    if (outOfSync.isOn && this.#resyncUpperTables(format)) return AGAIN;
    const hasNewTable = switches["lock-free-walk"] && this.#hasNewTable(format);
    const isRevoked = this.#revokeWalkedTables(format);
    if (isRevoked) {
      counters.add(RM_WRITE_FLUSH_TLB);
      freeWalk.noteChange();
      this.#shadow.flushAll();
    }
    if (switches["lock-free-walk"] ? !freeWalk.isTrusted(hasNewTable) : isRevoked && !freeWalk.compare())
      return AGAIN;
    if (domain.isDead()) return ANSWER_STOP;
    const gfn = guest.walker.frame;
    const entry = p2m.entryOf(gfn);
    if (!isAbsentEntry(entry)) return this.#fill(errorCode, gfn, entry, format);
    wanted.gfn = gfn;
    return ANSWER_RETRY;
  }

  /** Whether the walk goes through a table that is not known as one yet: what was stored to it went unseen. */
  #hasNewTable(format: number): boolean {
    const { guest, pages } = this.#shadow;
    for (let level = format === 4 ? 3 : 2; level >= guest.walker.leafLevel; level--) {
      const table = this.#walkedTable(level);
      if (table !== NO_MFN && !pages.isPagetable(table)) return true;
    }
    return false;
  }

  /** Only level 1 tables may be out of sync: those that the walk went through above are not any more. Whether one was. */
  #resyncUpperTables(format: number): boolean {
    const { outOfSync } = this.#shadow;
    let found = false;
    for (let level = format; level > 1; level--) {
      const table = this.#walkedTable(level);
      if (table !== NO_MFN && outOfSync.resyncPage(table)) found = true;
    }
    return found;
  }

  /** Takes write access from the tables of the walk but the root, which lost it when CR3 was loaded. */
  #revokeWalkedTables(format: number): boolean {
    const { guest, revocation, vcpu, outOfSync } = this.#shadow;
    const { walker } = guest;
    let flush = false;
    // PAE: the level 2 tables are the roots, but they came with the snapshot and may be written since (spec 6.1).
    for (let level = format === 4 ? 3 : 2; level >= walker.leafLevel; level--) {
      if (level === 2 && format === 2) continue;
      const table = this.#walkedTable(level);
      if (table === NO_MFN || outOfSync.isOutOfSync(table)) continue;
      if (revocation.revokeWriteAccess(table, level, vcpu.faultLow, vcpu.faultHigh) === REVOKED_FLUSH)
        flush = true;
    }
    return flush;
  }

  /** Makes the shadows for the walk and its leaf entry, then says what becomes of the operation. */
  #fill(errorCode: number, gfn: number, entry: number, format: number): number {
    const { chain, switches, domain, outOfSync, pages, freeWalk } = this.#shadow;
    const isWrite = (errorCode & WRITE) !== 0;
    const cell = chain.leafCell(isWrite);
    if (cell === 0) return this.#noChain(errorCode);
    const frame = mappedInP2mEntry(entry);
    const mayUnsync = isWrite && frame !== NO_MFN && !isReadOnlyEntry(entry);
    if (mayUnsync && pages.isPagetable(frame)) outOfSync.unsync(frame);
    if (domain.isDead()) return ANSWER_STOP;
    // After the last step that can resync the leaf's table: a page out of sync changes unseen (spec 14.9).
    if ((switches["lock-free-walk"] || outOfSync.isOn) && !freeWalk.isLeafStillTrue()) return AGAIN;
    this.#fillLeaf(errorCode, cell, gfn, entry, format);
    if (domain.isDead()) return ANSWER_STOP;
    return this.#conclusion.conclude(errorCode, gfn, entry);
  }

  /** Makes the leaf at a cell, and those behind it. */
  #fillLeaf(errorCode: number, cell: number, gfn: number, entry: number, format: number): void {
    const { guest, vcpu, switches, prefetch, tables } = this.#shadow;
    const table = guest.walker.leafLevel === 1 ? this.#walkedTable(1) : NO_MFN;
    const index = (vcpu.faultLow >>> 12) & (format === 2 ? 1023 : 511);
    this.#makeLeaf(cell, table, index, entry, (errorCode & WRITE) !== 0);
    if (switches.prefetch) prefetch.behind(cell, table, index, gfn, format);
    // Prefetch reads guest entries through the same scratch; nothing below may rely on it.
    tables.guestLow = 0;
  }

  /** The leaf as the walk read it, with its A and D. */
  #makeLeaf(cell: number, table: Mfn, index: number, entry: number, isWrite: boolean): void {
    const { guest, propagation, entries, outOfSync } = this.#shadow;
    const { walker } = guest;
    const format = guest.format();
    const isSmall = walker.leafLevel === 1;
    const low = isSmall ? (walker.entryLow[1] ?? 0) : SUPERPAGE_ENTRY;
    const high = isSmall ? (walker.entryHigh[1] ?? 0) : 0;
    const fetch = isWrite ? FETCH_WRITE : FETCH_READ;
    propagation.leaf(low, high, entry, walker.frame, format, fetch);
    entries.setLeaf(cell, propagation.low, propagation.high);
    if (outOfSync.isShadowOutOfSync(mfn(cell >>> 10)))
      outOfSync.snapshots.noteMade(table, index, format, low, high);
  }

  /** The frame that a table of the walk lies in. */
  #walkedTable(level: number): Mfn {
    return this.#shadow.frameOrNone(this.#shadow.guest.walker.tableMfn[level] ?? -1);
  }

  /** A PAE root that the snapshot lacks may have become present: take it again. The guest sees one fault (spec 9.3). */
  #noChain(errorCode: number): number {
    const { guest, roots, domain, vcpu } = this.#shadow;
    if (guest.format() === 3) roots.updateCr3();
    if (domain.isDead()) return ANSWER_STOP;
    vcpu.faultErrorCode = errorCode & (guest.reportsFetches() ? WRITE | USER | FETCH : WRITE | USER);
    return ANSWER_INJECT;
  }
}
