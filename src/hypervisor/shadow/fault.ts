/**
 * The page-fault handler (spec 4). Steps in the order that is load-bearing: walk, preallocate, revoke, flush, check the
 * walk, build the chain, propagate, prefetch, emulate. All but the walk and the emulation run under the paging lock; those
 * two as well, unless their switches say otherwise.
 */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { Cr0 } from "../../machine/control-registers.ts";
import { FaultAnswer } from "../../machine/exits.ts";
import { ARCHITECTURAL_FAULT_BITS } from "../../machine/fault-code.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { LockSite } from "../../locks/lock-class.ts";
import { P2mType, discardsWrites, isAbsentEntry, isReadOnlyEntry, mappedInP2mEntry } from "../p2m-type.ts";
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
const FAULT_EMULATE_FAILED = Counter.fault_emulate_failed;
const FAULT_EMULATE_WP = Counter.fault_emulate_wp;
const FAULT_EMULATE_WRITE = Counter.fault_emulate_write;
const FAULT_FIXED = Counter.fault_fixed;
const FAULT_MMIO = Counter.fault_mmio;
const FAULT_READ_ONLY = Counter.fault_read_only;
const GUEST_WALK = Counter.guest_walk;
const LOGDIRTY_TYPE_FAULTS = Counter.logdirty_type_faults;
const RM_WRITE_FLUSH_TLB = Counter.rm_write_flush_tlb;
const TRANSLATION_CACHE_HITS = Counter.translation_cache_hits;
const CR0_WP = Cr0.wp;
const ANSWER_EMULATED = FaultAnswer.emulated;
const ANSWER_INJECT = FaultAnswer.inject;
const ANSWER_RESUME = FaultAnswer.resume;
const ANSWER_RETRY = FaultAnswer.retry;
const ANSWER_STOP = FaultAnswer.stop;
const SITE_PAGE_FAULT = LockSite.page_fault;
const REVOKED_FLUSH = Revoked.flush;
const DIRTY_FAULTS = DomainCell.dirtyFaults;
const CELL_CR0 = VcpuCell.cr0;
const EMULATED = P2mType.mmioDm;
const FETCH_READ = Fetch.demandRead;
const FETCH_WRITE = Fetch.demandWrite;

const PRESENT = 1;
const WRITE = 2;
const USER = 4;
const RESERVED = 8;
const FETCH = 16;
const IMPLICIT = 1 << 18;
/** Answers within this file: walk again; emulate once the lock is released. */
const AGAIN = -2;
const EMULATE = -3;
/** The same of the operation in flight alone. */
const EMULATE_OPERATION = -4;

/** Handles page faults of one vCPU. */
export class FaultHandler {
  readonly #shadow: Shadow;
  /** Gfn of the device page that the fault at hand goes to, -1 when it is none. */
  #deviceGfn = -1;
  /** The page that the operation at hand goes to, when it is to be emulated without the lock. */
  #emulatedFrame: Mfn = NO_MFN;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
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
    const { counters, switches, fastPath, domain, fastEmulate } = this.#shadow;
    counters.add(FAULT);
    if (domain.isDead()) return ANSWER_STOP;
    if (switches["fast-fault-path"] && (errorCode & RESERVED) !== 0) {
      const answer = fastPath.answer(errorCode);
      if (answer !== SLOW_PATH) return answer;
    }
    this.#deviceGfn = -1;
    if (switches["fast-emulate"]) {
      const answer = fastEmulate.answer(errorCode);
      if (answer !== SLOW_PATH) return this.#afterHold(answer);
    }
    if (switches["translation-cache"] && this.#isCachedMmio(errorCode))
      return this.#afterHold(ANSWER_EMULATED);
    return this.#afterHold(
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
    this.#deviceGfn = gfn;
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

  /** What is left to do when the lock has been released. */
  #afterHold(answer: number): number {
    const { vcpu, device, split, instructions, emulation, domain, switches, ahead } = this.#shadow;
    let final = answer;
    if (answer === EMULATE || answer === EMULATE_OPERATION) {
      final =
        answer === EMULATE
          ? instructions.emulateFaulting(this.#emulatedFrame)
          : emulation.emulate(this.#emulatedFrame);
      if (domain.isDead()) final = ANSWER_STOP;
    }
    if (this.#deviceGfn >= 0) device.execute(vcpu, this.#deviceGfn);
    else if (final === ANSWER_EMULATED || final === ANSWER_RESUME) {
      split.askDevices();
      if (switches["emulate-ahead"]) ahead.begin(final);
    }
    return final;
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
    const { chain, switches, prefetch, guest, domain, vcpu, tables, outOfSync, pages, freeWalk } =
      this.#shadow;
    const isWrite = (errorCode & WRITE) !== 0;
    const cell = chain.leafCell(isWrite);
    if (cell === 0) return this.#noChain(errorCode);
    const frame = mappedInP2mEntry(entry);
    const mayUnsync = isWrite && frame !== NO_MFN && !isReadOnlyEntry(entry);
    if (mayUnsync && pages.isPagetable(frame)) outOfSync.unsync(frame);
    if (domain.isDead()) return ANSWER_STOP;
    // After the last step that can resync the leaf's table: a page out of sync changes unseen (spec 14.9).
    if ((switches["lock-free-walk"] || outOfSync.isOn) && !freeWalk.isLeafStillTrue()) return AGAIN;
    const table = guest.walker.leafLevel === 1 ? this.#walkedTable(1) : NO_MFN;
    const index = (vcpu.faultLow >>> 12) & (format === 2 ? 1023 : 511);
    this.#makeLeaf(cell, table, index, entry, isWrite);
    if (switches.prefetch) prefetch.behind(cell, table, index, gfn, format);
    // Prefetch reads guest entries through the same scratch; nothing below may rely on it.
    tables.guestLow = 0;
    if (domain.isDead()) return ANSWER_STOP;
    return this.#conclude(errorCode, gfn, entry);
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

  #conclude(errorCode: number, gfn: number, entry: number): number {
    const { counters, emulation, guest, pages, logDirty, domain, outOfSync } = this.#shadow;
    const isWrite = (errorCode & WRITE) !== 0;
    const frame = mappedInP2mEntry(entry);
    if (frame === NO_MFN) {
      emulation.resetEarlyUnshadow();
      counters.add(FAULT_MMIO);
      if (emulation.crossesPages()) return this.#emulateInTurn(frame);
      this.#deviceGfn = gfn;
      return ANSWER_EMULATED;
    }
    const isFree = (errorCode & USER) === 0 && outOfSync.isOutOfSync(frame);
    if (isWrite && pages.isPagetable(frame) && !isFree) {
      counters.add(FAULT_EMULATE_WRITE);
      return this.#emulate(errorCode, frame);
    }
    if (isWrite && isReadOnlyEntry(entry)) return this.#emulateReadOnly(entry, frame);
    const isWriteProtectOff = (guest.register(CELL_CR0) & CR0_WP) === 0;
    if (isWriteProtectOff && errorCode === (WRITE | PRESENT)) {
      counters.add(FAULT_EMULATE_WP);
      return this.#emulate(errorCode, frame);
    }
    counters.add(FAULT_FIXED);
    if (logDirty.isOn()) domain.increase(DIRTY_FAULTS, 1);
    if (guest.walker.leafLevel === 1) outOfSync.countAnew(mfn(guest.walker.tableMfn[1] ?? 0));
    emulation.resetEarlyUnshadow();
    return ANSWER_RETRY;
  }

  /**
   * No kernel writes its pagetables from user mode: then the page is none. Unless the walk itself goes through it: the
   * next fault would make it a pagetable again, for ever, so such a store is emulated (Xen would not get out of this).
   * So is one to two pages, as the other page's walk may be the one that goes through it.
   */
  #emulate(errorCode: number, frame: Mfn): number {
    const { counters, unshadow, emulation, domain, dying } = this.#shadow;
    if ((errorCode & USER) !== 0 && !emulation.crossesPages() && !this.#isWalkedTable(frame)) {
      counters.add(FAULT_EMULATE_FAILED);
      unshadow.removeShadows(frame, false, true);
      return domain.isDead() ? ANSWER_STOP : ANSWER_RETRY;
    }
    dying.unshadowDead(frame);
    const answer = this.#emulateInTurn(frame);
    return domain.isDead() ? ANSWER_STOP : answer;
  }

  /**
   * A write to read-only memory: what the type makes of it is the emulator's to know. The operation in flight alone, not the
   * instruction at RIP: one that cannot be emulated would come back for ever, as the page stays read-only.
   */
  #emulateReadOnly(entry: number, frame: Mfn): number {
    const { counters, emulation, switches, domain } = this.#shadow;
    counters.add(FAULT_READ_ONLY);
    if (!discardsWrites(entry)) counters.add(LOGDIRTY_TYPE_FAULTS);
    emulation.resetEarlyUnshadow();
    if (switches["unlocked-emulation"]) {
      this.#emulatedFrame = frame;
      return EMULATE_OPERATION;
    }
    const answer = emulation.emulate(frame);
    return domain.isDead() ? ANSWER_STOP : answer;
  }

  /** Emulates the operation now, in the same hold of the lock, or says that it shall be when the lock is released. */
  #emulateInTurn(frame: Mfn): number {
    const { instructions, switches } = this.#shadow;
    if (!switches["unlocked-emulation"]) return instructions.emulateFaulting(frame);
    this.#emulatedFrame = frame;
    return EMULATE;
  }

  /** Whether the walk goes through a page below the root. A root cannot be unshadowed: that ends the domain. */
  #isWalkedTable(frame: Mfn): boolean {
    const { guest } = this.#shadow;
    const { walker } = guest;
    const top = guest.format() === 4 ? 3 : 1;
    for (let level = walker.leafLevel; level <= top; level++)
      if (walker.tableMfn[level] === frame) return true;
    return false;
  }
}
