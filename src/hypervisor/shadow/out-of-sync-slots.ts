/**
 * Where out-of-sync pages are kept (spec 7.2): three slots a vCPU, each with a snapshot and two records of leaves that let
 * the page be written. A slot is named by one number, counted over all vCPUs.
 */
import { vcpuId, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import { VcpuCell, vcpuArea } from "../../memory/vcpu-area.ts";
import type { Shadow } from "./shadow.ts";

/** Slots of a vCPU. A prime, as pages are spread over them by their frame numbers. */
export const SLOTS = 3;
/** Words of a slot's fixups: which is replaced next, and two cells. */
export const FIXUP_WORDS = 3;

const CELL_PAGES = VcpuCell.outOfSync;
const CELL_SNAPSHOTS = VcpuCell.snapshots;
const CELL_FIXUPS = VcpuCell.fixups;

/** The slots of all vCPUs. Callers hold the paging lock. */
export class OutOfSyncSlots {
  readonly #shadow: Shadow;
  /** Slots of the whole machine. */
  readonly total: number;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
    this.total = shadow.config.vcpus * SLOTS;
  }

  /** The slot that a page has first claim to, in the area of a vCPU. */
  home(vcpu: number, page: Mfn): number {
    return vcpu * SLOTS + (page % SLOTS);
  }

  /** The other slot that a page may be in. */
  alternate(vcpu: number, page: Mfn): number {
    return vcpu * SLOTS + ((page + 1) % SLOTS);
  }

  /** The vCPU whose slot it is. */
  ownerOf(slot: number): number {
    return Math.floor(slot / SLOTS);
  }

  /** The slot of a page, -1 when it is in none. */
  slotOf(page: Mfn): number {
    const { vcpus } = this.#shadow.config;
    for (let vcpu = 0; vcpu < vcpus; vcpu++) {
      const home = this.home(vcpu, page);
      if (this.pageIn(home) === page) return home;
      const alternate = this.alternate(vcpu, page);
      if (this.pageIn(alternate) === page) return alternate;
    }
    return -1;
  }

  /** The page in a slot, 0 for none. */
  pageIn(slot: number): Mfn {
    return mfn(this.#shadow.memory.loadGuarded(this.#cell(slot, CELL_PAGES, 1)));
  }

  setPage(slot: number, page: number): void {
    this.#shadow.memory.storeGuarded(this.#cell(slot, CELL_PAGES, 1), page);
  }

  /** The snapshot of a slot, 0 before it was allocated. */
  snapshotOf(slot: number): Mfn {
    return mfn(this.#shadow.memory.loadGuarded(this.#cell(slot, CELL_SNAPSHOTS, 1)));
  }

  setSnapshot(slot: number, snapshot: number): void {
    this.#shadow.memory.storeGuarded(this.#cell(slot, CELL_SNAPSHOTS, 1), snapshot);
  }

  /** First cell of a slot's fixups: which of two is replaced next, then the cells of two leaves, 0 for none. */
  fixups(slot: number): number {
    return this.#cell(slot, CELL_FIXUPS, FIXUP_WORDS);
  }

  /** Forgets a slot's fixups. */
  clearFixups(slot: number): void {
    const { memory } = this.#shadow;
    const first = this.fixups(slot);
    for (let word = 0; word < FIXUP_WORDS; word++) memory.storeGuarded(first + word, 0);
  }

  /** Moves a page with its fixups and its snapshot into another, empty slot, which gives its snapshot page in exchange. */
  move(from: number, to: number): void {
    const { memory } = this.#shadow;
    this.setPage(to, this.pageIn(from));
    this.setPage(from, 0);
    const snapshot = this.snapshotOf(to);
    this.setSnapshot(to, this.snapshotOf(from));
    this.setSnapshot(from, snapshot);
    const source = this.fixups(from);
    const target = this.fixups(to);
    for (let word = 0; word < FIXUP_WORDS; word++)
      memory.storeGuarded(target + word, memory.loadGuarded(source + word));
    this.clearFixups(from);
  }

  #cell(slot: number, first: number, words: number): number {
    const area = vcpuArea(this.#shadow.layout, vcpuId(this.ownerOf(slot)));
    return area + first + (slot % SLOTS) * words;
  }
}
