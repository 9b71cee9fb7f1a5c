/**
 * What becomes of an operation that faulted, once its leaf is made: it executes again, a device answers it, or it is
 * emulated (spec 4.9, 4.12). Emulation and devices may have to wait until the lock is released.
 */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { Cr0 } from "../../machine/control-registers.ts";
import { FaultAnswer } from "../../machine/exits.ts";
import { discardsWrites, isReadOnlyEntry, mappedInP2mEntry } from "../p2m-type.ts";
import type { Shadow } from "./shadow.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const FAULT_EMULATE_FAILED = Counter.fault_emulate_failed;
const FAULT_EMULATE_WP = Counter.fault_emulate_wp;
const FAULT_EMULATE_WRITE = Counter.fault_emulate_write;
const FAULT_FIXED = Counter.fault_fixed;
const FAULT_MMIO = Counter.fault_mmio;
const FAULT_READ_ONLY = Counter.fault_read_only;
const LOGDIRTY_TYPE_FAULTS = Counter.logdirty_type_faults;
const CR0_WP = Cr0.wp;
const ANSWER_EMULATED = FaultAnswer.emulated;
const ANSWER_RESUME = FaultAnswer.resume;
const ANSWER_RETRY = FaultAnswer.retry;
const ANSWER_STOP = FaultAnswer.stop;
const DIRTY_FAULTS = DomainCell.dirtyFaults;
const CELL_CR0 = VcpuCell.cr0;

const PRESENT = 1;
const WRITE = 2;
const USER = 4;
/** Answers between this class and its caller: emulate once the lock is released; and the operation in flight alone. */
const EMULATE = -3;
const EMULATE_OPERATION = -4;

/** Concludes the page faults of one vCPU. */
export class FaultConclusion {
  readonly #shadow: Shadow;
  /** Gfn of the device page that the fault at hand goes to, -1 when it is none. */
  #deviceGfn = -1;
  /** The page that the operation at hand goes to, when it is to be emulated without the lock. */
  #emulatedFrame: Mfn = NO_MFN;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** Another fault. */
  begin(): void {
    this.#deviceGfn = -1;
  }

  /** The fault goes to a device. */
  goToDevice(gfn: number): void {
    this.#deviceGfn = gfn;
  }

  /** What is left to do when the lock has been released. Answers a `FaultAnswer`. */
  afterHold(answer: number): number {
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

  /**
   * The leaf is made, of what the p2m says of a gfn. The answer is for `afterHold`. Callers hold the paging lock, or a part of
   * it if nothing is to be unshadowed.
   */
  conclude(errorCode: number, gfn: number, entry: number): number {
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
    const { counters, emulation, emulatesUnlocked, domain } = this.#shadow;
    counters.add(FAULT_READ_ONLY);
    if (!discardsWrites(entry)) counters.add(LOGDIRTY_TYPE_FAULTS);
    emulation.resetEarlyUnshadow();
    if (emulatesUnlocked) {
      this.#emulatedFrame = frame;
      return EMULATE_OPERATION;
    }
    const answer = emulation.emulate(frame);
    return domain.isDead() ? ANSWER_STOP : answer;
  }

  /** Emulates the operation now, in the same hold of the lock, or says that it shall be when the lock is released. */
  #emulateInTurn(frame: Mfn): number {
    const { instructions, emulatesUnlocked } = this.#shadow;
    if (!emulatesUnlocked) return instructions.emulateFaulting(frame);
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
