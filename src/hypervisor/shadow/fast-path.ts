/**
 * Faults on magic entries, answered without a lock, a reference or a walk of the guest's tables (spec 4.4). An entry
 * that says "not present" or "MMIO at this gfn" needs nothing but itself. What other vCPUs do meanwhile is harmless: a
 * guest write to the table rewrites the entry under the lock, cutting upper levels flushes, and p2m changes throw all
 * shadows away.
 */
import { Counter } from "../../memory/counters.ts";
import { mfn } from "../../memory/units.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { FaultAnswer } from "../../machine/exits.ts";
import { permits, narrowRights, Rights } from "../../machine/access-rights.ts";
import { WalkMode } from "../../machine/walker.ts";
import { isMagic, isNotPresentMagic, mmioMagicGfn } from "./shadow-entry.ts";
import type { Shadow } from "./shadow.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const FAULT_FAST_FAIL = Counter.fault_fast_fail;
const FAULT_FAST_GNP = Counter.fault_fast_gnp;
const FAULT_FAST_MMIO = Counter.fault_fast_mmio;
const ANSWER_EMULATED = FaultAnswer.emulated;
const ANSWER_INJECT = FaultAnswer.inject;
const ANSWER_RETRY = FaultAnswer.retry;
const RIGHTS_ALL = Rights.all;
const RIGHTS_EXECUTABLE = Rights.executable;
const RIGHTS_USER = Rights.user;
const RIGHTS_WRITABLE = Rights.writable;
const CELL_HARDWARE_ROOT = VcpuCell.hardwareRoot;
const CELL_PDPTES = VcpuCell.pdptes;
const CELL_SHADOW_LEVELS = VcpuCell.shadowLevels;
const MODE_WP = WalkMode.wp;

const PRESENT = 1;
const RESERVED = 8;
const FETCH = 16;
const ACCESS_BITS = 2 | 4 | 16;
const IMPLICIT = 1 << 18;

/** Not answered here: take the slow path. */
export const SLOW_PATH = -1;

/** The lock-free part of the page-fault handler. */
export class FastPath {
  readonly #shadow: Shadow;
  #low = 0;
  #high = 0;
  #rights = 0;
  /** Whether the leaf that was looked for is in a table that is out of sync. */
  #isOutOfSync = false;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Answers a fault with RSVD: a `FaultAnswer`, or SLOW_PATH when the rights of an MMIO access are in doubt or the table is
   * out of sync.
   */
  answer(errorCode: number): number {
    const { vcpu, counters } = this.#shadow;
    const hasLeaf = this.#readLeaf(vcpu.faultLow, vcpu.faultHigh);
    if (this.#isOutOfSync) return SLOW_PATH;
    if (!hasLeaf || !isMagic(this.#low, this.#high)) {
      // Somebody changed the tables since: execute again and let hardware produce the right fault.
      counters.add(FAULT_FAST_FAIL);
      return ANSWER_RETRY;
    }
    return isNotPresentMagic(this.#low) ? this.#notPresent(errorCode) : this.#mmio(errorCode);
  }

  #notPresent(errorCode: number): number {
    const { vcpu, counters, guest, emulation } = this.#shadow;
    counters.add(FAULT_FAST_GNP);
    emulation.resetEarlyUnshadow();
    const code = errorCode & ~(RESERVED | PRESENT);
    vcpu.faultErrorCode = guest.reportsFetches() ? code : code & ~FETCH;
    return ANSWER_INJECT;
  }

  /**
   * Rights are checked against the entry and the levels above it; a doubtful access is the slow path's to judge. So is a
   * write that only CR0.WP = 0 allows: the guest's D may still have to be set. And so is an access to two pages, of which
   * the other may be memory.
   */
  #mmio(errorCode: number): number {
    const { vcpu, counters, guest, emulation, device } = this.#shadow;
    const access = (errorCode & ACCESS_BITS) | (vcpu.accessBits & IMPLICIT);
    const rights = this.#rights & ((this.#low & (RIGHTS_WRITABLE | RIGHTS_USER)) | RIGHTS_EXECUTABLE);
    if (emulation.crossesPages()) return SLOW_PATH;
    if ((access & FETCH) !== 0 || !permits(rights, access, guest.mode(vcpu.alignmentCheck) | MODE_WP))
      return SLOW_PATH;
    counters.add(FAULT_FAST_MMIO);
    emulation.resetEarlyUnshadow();
    device.execute(vcpu, mmioMagicGfn(this.#low, this.#high));
    return ANSWER_EMULATED;
  }

  /** Reads the shadow leaf of an address, as hardware would and as tolerant: tables may vanish at every step. */
  #readLeaf(low: number, high: number): boolean {
    const { memory, vcpu } = this.#shadow;
    this.#rights = RIGHTS_ALL;
    let table: number;
    if (vcpu.register(CELL_SHADOW_LEVELS) === 4) {
      table = memory.loadWord(vcpu.area + CELL_HARDWARE_ROOT);
      table = this.#descend(table, (high >>> 7) & 511);
      table = this.#descend(table, ((low >>> 30) | (high << 2)) & 511);
    } else {
      const pdpte = memory.loadEntry(vcpu.area + CELL_PDPTES + 2 * (low >>> 30));
      table = (pdpte & PRESENT) === 0 ? 0 : this.#shadow.frameIn(pdpte, memory.high);
    }
    table = this.#descend(table, (low >>> 21) & 511);
    this.#isOutOfSync = false;
    if (!this.#isTable(table)) return false;
    // Before the entry is read: a resync between the two would make an old one look current (spec 4.4).
    this.#isOutOfSync = this.#shadow.outOfSync.isShadowOutOfSync(mfn(table));
    if (this.#isOutOfSync) return false;
    this.#low = memory.loadEntry((table << 10) | (((low >>> 12) & 511) << 1));
    this.#high = memory.high;
    return true;
  }

  #descend(table: number, index: number): number {
    if (!this.#isTable(table)) return 0;
    const { memory } = this.#shadow;
    const low = memory.loadEntry((table << 10) | (index << 1));
    const { high } = memory;
    if ((low & PRESENT) === 0) return 0;
    this.#rights = narrowRights(this.#rights, low, high);
    return this.#shadow.frameIn(low, high);
  }

  #isTable(table: number): boolean {
    return table > 0 && table < this.#shadow.layout.sizes.frames;
  }
}
