/** Races in words: both sides with vCPU, operation, source line, locks held and values. */
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import type { Race, RaceSide } from "../../../checks/race.ts";
import { Doing } from "../../../memory/vcpu-area.ts";
import { lockPhrase } from "../../../locks/lock-class.ts";
import { LOCK_NAMES } from "../../../memory/layout.ts";
import { SITES } from "../../coroutine/sites.ts";

const SITE_BITS = 14;
const SITE = (1 << SITE_BITS) - 1;

const WIDE_BIT = SITE_BITS + LOCK_NAMES.length;
/** In a packed access: it was 64 bits wide. */
export const WIDE: number = 1 << WIDE_BIT;
const DOING_NAMES: readonly string[] = doingNames();
const DOING_MASK = 15;

/** Words races. An access is named by its site and the locks held, packed into one number. */
export class RaceReport {
  readonly #nameOf: (cell: number) => string;
  readonly #vcpus: number;

  constructor(nameOf: (cell: number) => string, vcpus: number) {
    this.#nameOf = nameOf;
    this.#vcpus = vcpus;
  }

  /** A site, a bit for each lock held, the access's width, and what the vCPU was at, a `Doing`. */
  pack(site: number, locks: number, isWide = false, doing = 0): number {
    return site | (locks << SITE_BITS) | (isWide ? WIDE : 0) | ((doing & DOING_MASK) << (WIDE_BIT + 1));
  }

  /** `emulate.ts:120`. */
  place(site: number): string {
    const { file, line } = SITES.site(site);
    return `${basename(fileURLToPath(file))}:${String(line)}`;
  }

  /** What makes two races the same: both places and the kind of memory. */
  key({ earlier, later }: Race, region: string): string {
    const places = [this.place(earlier.what & SITE), this.place(later.what & SITE)].toSorted();
    return `race ${places.join(" ")} ${region}`;
  }

  /** One side: who, what, where, with which locks. */
  side(thread: number, what: number, isWrite: boolean, isAtomic: boolean): string {
    const { within } = SITES.site(what & SITE);
    const held = [...LOCK_NAMES.keys()].filter((lock) => ((what >>> SITE_BITS) & (1 << lock)) !== 0);
    const locks = held.length === 0 ? "holding no lock" : `holding ${held.map(lockPhrase).join(" and ")}`;
    const who = thread === this.#vcpus ? "the toolstack" : `vCPU ${String(thread)}`;
    const how = `${isAtomic ? "an atomic" : "a plain"} ${isWrite ? "write" : "read"}`;
    const operation = DOING_NAMES[(what >>> (WIDE_BIT + 1)) & DOING_MASK] ?? "";
    return `${who} in ${within} (${this.place(what & SITE)})${operation}, ${locks}, makes ${how}`;
  }

  /** The cell and what became of it. */
  change(cell: number, before: number, after: number): string {
    return before === after
      ? `of ${this.#nameOf(cell)} (${hex(after)})`
      : `of ${this.#nameOf(cell)} (${hex(before)} -> ${hex(after)})`;
  }

  /** Both sides. */
  text({ cell, earlier, later }: Race, before: number): string {
    const first = `${this.#sideOf(earlier)} of ${this.#nameOf(cell)} (${hex(earlier.value)})`;
    return `Nothing orders two accesses: ${first}; ${this.#sideOf(later)} ${this.change(cell, before, later.value)}.`;
  }

  #sideOf({ thread, what, isWrite, isAtomic }: RaceSide): string {
    return this.side(thread, what, isWrite, isAtomic);
  }
}

/** What a vCPU is at, for a sentence; nothing for the guest's own operations and for what no vCPU does. */
function doingNames(): string[] {
  const names: string[] = [];
  names[Doing.guest] = "";
  names[Doing.pageFault] = " during a page fault";
  names[Doing.writeCr] = " during MOV CR";
  names[Doing.invlpg] = " during INVLPG";
  names[Doing.hypercall] = " during a hypercall";
  names[Doing.flushWait] = " waiting for flushes";
  return names;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
