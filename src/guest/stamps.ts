/**
 * The memory oracle. Every word that a program stores is a stamp: it names the page it belongs to, the vCPU that stored
 * it, and how many stamps that vCPU had stored before. So a load can be held against what it may return:
 *
 * - a stamp of this page and slot, or zero while nobody has stored there (a wrong page is seen at once);
 * - not older than what its writer had completed before the load began, nor than what this reader saw there before;
 * - not newer than what its writer has begun.
 *
 * A page has one slot for each vCPU, in which that vCPU alone stores and all look. What was completed is noted in guest
 * memory that is never remapped (the ledger); what was begun, in the vCPU's own area, beside the machine under test.
 */
import { vcpuId } from "../memory/units.ts";
import { VcpuCell, vcpuArea } from "../memory/vcpu-area.ts";
import { PAGE_SLOTS, SLOT_STRIDE } from "./kernel/image.ts";
import { hex } from "./hex.ts";
import type { Cpu } from "./cpu.ts";
import type { MachineAtRest } from "./scenario.ts";

const PAGE_BYTES = 4096;
/** V8 folds a constant of this module, not one of another. */
const STAMP_BEGUN = VcpuCell.stampBegun;
/** Every stamp has this bit in its high half: it is neither zero nor like an entry of any table. */
const MARK = 0x4000_0000;
const WRITER_BITS = 5;
/** Pages have tags below this. */
export const PAGE_TAGS_MAX: number = 1 << 20;

/** The high half of the stamps that a vCPU stores in a page. */
function stampHigh(tag: number, writer: number): number {
  return MARK | (tag << WRITER_BITS) | writer;
}

/** Words of ledger that stamps on so many pages need. */
export function ledgerWords(pages: number): number {
  return pages * PAGE_SLOTS;
}

/** How many stamps a vCPU has begun to store. */
interface SequenceCounter {
  last: number;
}

/** One vCPU's part in the oracle over pages that several vCPUs stamp. */
export class Stamps {
  readonly #cpu: Cpu;
  readonly #ledger: number;
  readonly #pages: number;
  readonly #area: number;
  readonly #seen: Int32Array;
  readonly #slot: number;
  readonly #counter: SequenceCounter;

  /** The ledger is the linear address of `ledgerWords(pages)` words of kernel data. */
  constructor(cpu: Cpu, ledger: number, pages: number, counter: SequenceCounter = { last: 0 }) {
    if (cpu.vcpus > PAGE_SLOTS) {
      throw new RangeError(`pages have slots for ${String(PAGE_SLOTS)} vCPUs, not for ${String(cpu.vcpus)}`);
    }
    this.#counter = counter;
    this.#cpu = cpu;
    this.#ledger = ledger;
    this.#pages = pages;
    this.#area = vcpuArea(cpu.vcpu.layout, cpu.vcpu.id);
    this.#seen = new Int32Array(pages * PAGE_SLOTS);
    this.#slot = cpu.id;
  }

  /** The oracle over other pages that the same vCPU stamps: stamps are counted on through all of them. */
  beside(ledger: number, pages: number): Stamps {
    return new Stamps(this.#cpu, ledger, pages, this.#counter);
  }

  /** Stamps this vCPU's slot of a page that appears at an address. Returns the sequence number. */
  stampPage(address: number, page: number): number {
    const cpu = this.#cpu;
    const place = page * PAGE_SLOTS + this.#slot;
    const sequence = ++this.#counter.last;
    cpu.vcpu.memory.storeWord(this.#area + STAMP_BEGUN, sequence);
    cpu.store64(address + this.#slot * SLOT_STRIDE, sequence, stampHigh(page, cpu.id));
    cpu.storeKernel32(this.#ledger + 4 * place, sequence);
    this.#seen[place] = sequence;
    return sequence;
  }

  /** Looks at a slot of a page that appears at an address, and reports what no order of events allows. */
  checkSlot(address: number, page: number, slot: number): void {
    const cpu = this.#cpu;
    const place = page * PAGE_SLOTS + slot;
    const completed = cpu.loadKernel32(this.#ledger + 4 * place);
    const at = address + slot * SLOT_STRIDE;
    const low = cpu.load64(at);
    const high = cpu.valueHigh;
    this.judge({ page, slot, address: at, low, high }, completed);
  }

  /** Looks at every slot of a page. */
  checkPage(address: number, page: number): void {
    for (let slot = 0; slot < PAGE_SLOTS && slot < this.#cpu.vcpus; slot++)
      this.checkSlot(address, page, slot);
  }

  /**
   * Judges a word that was loaded from a slot: `completed` is what the ledger said before the load. For loads that a
   * program makes in a way of its own.
   */
  judge(seen: SeenWord, completed: number): void {
    const { page, slot, low, high } = seen;
    const place = page * PAGE_SLOTS + slot;
    const isBlank = low === 0 && high === 0;
    const before = this.#seen[place] ?? 0;
    if (!isBlank && high !== stampHigh(page, slot)) {
      this.#report(seen, `holds ${describeWord(low, high)}`);
    } else if (isBefore(low, completed)) {
      this.#report(
        seen,
        `holds stamp ${String(low)}, but stamp ${String(completed)} had been stored before the load`,
      );
    } else if (isBefore(low, before)) {
      this.#report(seen, `holds stamp ${String(low)}, but stamp ${String(before)} was seen there before`);
    } else if (slot === this.#slot && low !== before) {
      this.#report(
        seen,
        `holds stamp ${String(low)}, but this vCPU alone stores there and stored ${String(before)}`,
      );
    } else if (!isBlank && isBefore(this.#begunBy(slot), low)) {
      this.#report(seen, `holds stamp ${String(low)}, which its writer has not begun to store`);
    } else {
      this.#seen[place] = low;
    }
  }

  /** Pages that the ledger has room for. */
  get pages(): number {
    return this.#pages;
  }

  #begunBy(writer: number): number {
    const { memory, layout } = this.#cpu.vcpu;
    return memory.loadWord(vcpuArea(layout, vcpuId(writer)) + STAMP_BEGUN);
  }

  #report({ page, slot, address }: SeenWord, what: string): void {
    this.#cpu.violation("memory", `slot ${String(slot)} of page ${String(page)} at ${hex(address)} ${what}`);
  }
}

/** Pages whose stamps are looked at when all is over: tag i belongs to the frame `firstFrame` + i. */
export interface StampedFrames {
  readonly firstFrame: number;
  readonly pages: number;
  /** Guest physical address of the ledger. */
  readonly ledger: number;
}

/** One sentence for every slot that does not hold the last stamp that was stored there. For a machine at rest. */
export function lostStamps(
  { ram, vcpus }: MachineAtRest,
  { firstFrame, pages, ledger }: StampedFrames,
): string[] {
  const lost: string[] = [];
  for (let page = 0; page < pages; page++) {
    for (let slot = 0; slot < PAGE_SLOTS && slot < vcpus; slot++) {
      const at = (firstFrame + page) * PAGE_BYTES + slot * SLOT_STRIDE;
      const low = ram.readWord(at);
      const last = ram.readWord(ledger + 4 * (page * PAGE_SLOTS + slot));
      if (low !== last) {
        lost.push(
          `slot ${String(slot)} of page ${String(page)} holds stamp ${String(low)}, the last was ${String(last)}`,
        );
      }
    }
  }
  return lost;
}

/** A word that was loaded, and where. */
export interface SeenWord {
  readonly page: number;
  readonly slot: number;
  readonly address: number;
  readonly low: number;
  readonly high: number;
}

/**
 * The oracle for pages that one vCPU at a time uses: what it stored last is what must be there, exactly, in accesses of
 * every size.
 */
export class PrivateStamps {
  readonly #cpu: Cpu;
  readonly #low: Int32Array;
  readonly #high: Int32Array;
  #sequence = 0;

  constructor(cpu: Cpu, pages: number) {
    this.#cpu = cpu;
    this.#low = new Int32Array(pages * PAGE_SLOTS);
    this.#high = new Int32Array(pages * PAGE_SLOTS);
  }

  /** Stamps a slot of a page that appears at an address. `tag` says whose the stamp is: of which address space, say. */
  stampSlot(address: number, page: number, slot: number, tag: number): void {
    const place = page * PAGE_SLOTS + slot;
    const low = ++this.#sequence;
    const high = stampHigh(tag & (PAGE_TAGS_MAX - 1), this.#cpu.id);
    this.#cpu.store64(address + slot * SLOT_STRIDE, low, high);
    this.#low[place] = low;
    this.#high[place] = high;
  }

  /** Looks at a slot with accesses of 1, 2, 4 or 8 bytes. */
  checkSlot(address: number, page: number, slot: number, size: number): void {
    const cpu = this.#cpu;
    const place = page * PAGE_SLOTS + slot;
    const low = this.#low[place] ?? 0;
    const high = this.#high[place] ?? 0;
    const at = address + slot * SLOT_STRIDE;
    let isRight: boolean;
    if (size === 1) isRight = cpu.load8(at + 1) === ((low >>> 8) & 0xff);
    else if (size === 2) isRight = cpu.load16(at + 2) === low >>> 16;
    else if (size === 4) isRight = cpu.load32(at + 4) === high;
    else isRight = cpu.load64(at) === low && cpu.valueHigh === high;
    if (isRight) return;
    const seen = describeWord(cpu.load64(at), cpu.valueHigh);
    const where = `slot ${String(slot)} of page ${String(page)} at ${hex(at)}`;
    const wanted = describeWord(low, high);
    cpu.violation(
      "memory",
      `${where}, read by ${String(size)} bytes, should hold ${wanted} and holds ${seen}`,
    );
  }

  /** A page is zero again: it was given up, and will be another when it is touched next. */
  forgetPage(page: number): void {
    this.#low.fill(0, page * PAGE_SLOTS, (page + 1) * PAGE_SLOTS);
    this.#high.fill(0, page * PAGE_SLOTS, (page + 1) * PAGE_SLOTS);
  }

  /** All pages are zero again. */
  forgetAll(): void {
    this.#low.fill(0);
    this.#high.fill(0);
  }
}

function isBefore(sequence: number, other: number): boolean {
  return ((sequence - other) | 0) < 0;
}

function describeWord(low: number, high: number): string {
  if (low === 0 && high === 0) return "zero";
  const isStamp = (high & (MARK | (1 << 31))) === MARK;
  const tag = (high & (MARK - 1)) >>> WRITER_BITS;
  const writer = high & ((1 << WRITER_BITS) - 1);
  if (isStamp) return `stamp ${String(low)} of vCPU ${String(writer)} for page ${String(tag)}`;
  return `${hex(high >>> 0)}:${hex(low >>> 0)}, which is no stamp`;
}
