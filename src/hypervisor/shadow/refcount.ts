/** Reference counts of shadows, upward links, and the pinned list (spec 3.1 to 3.5). */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { ShadowType, canHaveUpPointer } from "./shadow-type.ts";
import type { Shadow } from "./shadow.ts";

const PINNED = 1;
const COUNT_MAX = 0x3fff_ffff;

/** Counts references to shadows. Callers hold the paging lock. */
export class References {
  readonly #shadow: Shadow;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
  }

  /**
   * Takes a reference for the parent entry at a cell, or for a root slot or a pin (cell 0). False when the count would
   * overflow.
   */
  getShadow(shadow: Mfn, parent: number): boolean {
    const { frames, counters, switches } = this.#shadow;
    const count = frames.count(shadow);
    if (count >= COUNT_MAX) return false;
    frames.setCount(shadow, count + 1);
    if (parent !== 0 && switches["up-pointer"] && frames.up(shadow) === 0 && this.hasUpPointer(shadow)) {
      frames.setUp(shadow, parent);
      counters.add(Counter.up_pointer_set);
    }
    return true;
  }

  /** Drops a reference. The upward link is not recomputed for others that may exist; at 0 the shadow is destroyed. */
  putShadow(shadow: Mfn, parent: number): void {
    const { frames, destruction, vcpu } = this.#shadow;
    if (parent !== 0 && frames.up(shadow) === parent) frames.setUp(shadow, 0);
    const count = frames.count(shadow) - 1;
    if (count < 0) {
      vcpu.reportViolation("counts", `reference count of shadow 0x${shadow.toString(16)} falls below 0`);
      return;
    }
    frames.setCount(shadow, count);
    if (count === 0) destruction.destroy(shadow);
  }

  /** Whether shadows of this one's type have an upward link right now: not pinnable. */
  hasUpPointer(shadow: Mfn): boolean {
    const type = this.#shadow.frames.type(shadow);
    return canHaveUpPointer(type) && !this.isPinnable(type);
  }

  /** Whether shadows of a type can be pinned right now. */
  isPinnable(type: number): boolean {
    if (!this.#shadow.switches.pinning) return false;
    if (type === ShadowType.l3_64) return this.#shadow.domain.read(DomainCell.linuxL3Toplevel) !== 0;
    return type === ShadowType.l2_32 || type === ShadowType.l2_pae || type === ShadowType.l4_64;
  }

  /** Whether the shadow is pinned. */
  isPinned(shadow: Mfn): boolean {
    return (this.#shadow.frames.state(shadow) & PINNED) !== 0;
  }

  /** Pins a shadow, or moves it to the head of the pinned list. Only an optimisation: failure is no error. */
  pin(shadow: Mfn): void {
    const { frames, domain, counters } = this.#shadow;
    if (!this.isPinnable(frames.type(shadow))) return;
    if (this.isPinned(shadow)) {
      if (domain.read(DomainCell.pinnedHead) === shadow) return;
      this.#unlink(shadow);
    } else {
      if (!this.getShadow(shadow, 0)) return;
      frames.setState(shadow, frames.state(shadow) | PINNED);
    }
    counters.add(Counter.pin);
    const head = domain.read(DomainCell.pinnedHead);
    frames.setNextFrame(shadow, head);
    frames.setPreviousFrame(shadow, 0);
    if (head === 0) domain.write(DomainCell.pinnedTail, shadow);
    else frames.setPreviousFrame(mfn(head), shadow);
    domain.write(DomainCell.pinnedHead, shadow);
  }

  /** Unpins a shadow, which may destroy it. */
  unpin(shadow: Mfn): void {
    const { frames } = this.#shadow;
    if (!this.isPinned(shadow)) return;
    frames.setState(shadow, frames.state(shadow) & ~PINNED);
    this.#unlink(shadow);
    this.putShadow(shadow, 0);
  }

  /**
   * When a 4-level root is made: with more than two roots a vCPU pinned, this guest does not keep one root per CPU as
   * old 64-bit Linux did, so its level 3 shadows are unpinned for good (spec 3.5).
   */
  reconsiderLevel3Pins(): void {
    const { domain, frames, config } = this.#shadow;
    if (domain.read(DomainCell.linuxL3Toplevel) === 0) return;
    let roots = 0;
    for (let at = mfn(domain.read(DomainCell.pinnedHead)); at !== 0; at = frames.nextFrame(at))
      if (frames.type(at) === ShadowType.l4_64) roots++;
    if (roots <= 2 * config.vcpus) return;
    let at = mfn(domain.read(DomainCell.pinnedHead));
    while (at !== 0) {
      const next = frames.nextFrame(at);
      if (frames.type(at) === ShadowType.l3_64) this.unpin(at);
      at = next;
    }
    domain.write(DomainCell.linuxL3Toplevel, 0);
  }

  #unlink(shadow: Mfn): void {
    const { frames, domain } = this.#shadow;
    const next = frames.nextFrame(shadow);
    const previous = frames.previousFrame(shadow);
    if (previous === 0) domain.write(DomainCell.pinnedHead, next);
    else frames.setNextFrame(previous, next);
    if (next === 0) domain.write(DomainCell.pinnedTail, previous);
    else frames.setPreviousFrame(next, previous);
    frames.setNextFrame(shadow, 0);
    frames.setPreviousFrame(shadow, 0);
  }
}
