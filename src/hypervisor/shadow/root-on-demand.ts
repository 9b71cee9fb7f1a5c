/** Loading a root that has yet to be populated: the page is allocated for it (spec 9.1). One that is away crashes the domain. */
import type { AbsentPages } from "../absent-pages.ts";
import type { ModeFollower } from "../guest-registers.ts";
import { P2mType, typeInP2mEntry } from "../p2m-type.ts";
import type { Shadow } from "./shadow.ts";

/** Follows the control registers, with the root brought in first where that takes no more than a frame. */
export class RootOnDemand implements ModeFollower {
  readonly #shadow: Shadow;
  readonly #absent: AbsentPages;

  constructor(shadow: Shadow, absent: AbsentPages) {
    this.#shadow = shadow;
    this.#absent = absent;
  }

  update(): boolean {
    return this.#shadow.modes.update() || (this.#populate() && this.#shadow.modes.update());
  }

  loadCr3(): boolean {
    return this.#shadow.modes.loadCr3() || (this.#populate() && this.#shadow.modes.loadCr3());
  }

  #populate(): boolean {
    const { p2m, guest, wanted } = this.#shadow;
    const gfn = guest.rootGfn();
    if (typeInP2mEntry(p2m.entryOf(gfn)) !== P2mType.populateOnDemand) return false;
    wanted.gfn = gfn;
    return this.#absent.bringBack();
  }
}
