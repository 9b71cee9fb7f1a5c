/**
 * Faults on magic entries, answered without a lock, a reference or a walk of the guest's tables (spec 4.4). An entry
 * that says "not present" or "MMIO at this gfn" needs nothing but itself. What other vCPUs do meanwhile is harmless: a
 * guest write to the table rewrites the entry under the lock, cutting upper levels flushes, and p2m changes throw all
 * shadows away.
 */
import { Counter } from "../../memory/counters.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { FaultAnswer } from "../../machine/exits.ts";
import { permits, narrowRights, Rights } from "../../machine/access-rights.ts";
import { WalkMode } from "../../machine/walker.ts";
import { isMagic, isNotPresentMagic, mmioMagicGfn } from "./shadow-entry.ts";
import type { Shadow } from "./shadow.ts";

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

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /** Answers a fault with RSVD: a `FaultAnswer`, or SLOW_PATH when the rights of an MMIO access are in doubt. */
  answer(errorCode: number): number {
    const { vcpu, counters } = this.#shadow;
    if (!this.#readLeaf(vcpu.faultLow, vcpu.faultHigh) || !isMagic(this.#low, this.#high)) {
      // Somebody changed the tables since: execute again and let hardware produce the right fault.
      counters.add(Counter.fault_fast_fail);
      return FaultAnswer.retry;
    }
    return isNotPresentMagic(this.#low) ? this.#notPresent(errorCode) : this.#mmio(errorCode);
  }

  #notPresent(errorCode: number): number {
    const { vcpu, counters, guest, emulation } = this.#shadow;
    counters.add(Counter.fault_fast_gnp);
    emulation.resetEarlyUnshadow();
    const code = errorCode & ~(RESERVED | PRESENT);
    vcpu.faultErrorCode = guest.reportsFetches() ? code : code & ~FETCH;
    return FaultAnswer.inject;
  }

  /**
   * Rights are checked against the entry and the levels above it; a doubtful access is the slow path's to judge. So is a
   * write that only CR0.WP = 0 allows: the guest's D may still have to be set.
   */
  #mmio(errorCode: number): number {
    const { vcpu, counters, guest, emulation, device } = this.#shadow;
    const access = (errorCode & ACCESS_BITS) | (vcpu.accessBits & IMPLICIT);
    const rights = this.#rights & ((this.#low & (Rights.writable | Rights.user)) | Rights.executable);
    if ((access & FETCH) !== 0 || !permits(rights, access, guest.mode(vcpu.alignmentCheck) | WalkMode.wp)) return SLOW_PATH;
    counters.add(Counter.fault_fast_mmio);
    emulation.resetEarlyUnshadow();
    device.execute(vcpu, mmioMagicGfn(this.#low, this.#high));
    return FaultAnswer.emulated;
  }

  /** Reads the shadow leaf of an address, as hardware would and as tolerant: tables may vanish at every step. */
  #readLeaf(low: number, high: number): boolean {
    const { memory, vcpu } = this.#shadow;
    this.#rights = Rights.all;
    let table: number;
    if (vcpu.register(VcpuCell.shadowLevels) === 4) {
      table = memory.loadWord(vcpu.area + VcpuCell.hardwareRoot);
      table = this.#descend(table, (high >>> 7) & 511);
      table = this.#descend(table, ((low >>> 30) | (high << 2)) & 511);
    } else {
      const pdpte = memory.loadEntry(vcpu.area + VcpuCell.pdptes + 2 * (low >>> 30));
      table = (pdpte & PRESENT) === 0 ? 0 : this.#shadow.frameIn(pdpte, memory.high);
    }
    table = this.#descend(table, (low >>> 21) & 511);
    if (!this.#isTable(table)) return false;
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
