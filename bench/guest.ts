/**
 * The guest that is measured: one vCPU in 4-level tables, with pages of memory, a table of entries that are not present,
 * pages of a device, and all of memory mapped once more at the place where Linux maps it, from which it stores to its
 * own tables.
 */
import { RealClock } from "../src/engines/real-clock.ts";
import { Loader } from "../src/guest/loader.ts";
import { signExtended } from "../src/guest/kernel/paging-format.ts";
import { registerValue } from "../src/hypervisor/device.ts";
import { PRESETS, machineConfig } from "../src/hypervisor/machine-config.ts";
import { Machine } from "../src/hypervisor/machine.ts";
import type { HostedVcpu } from "../src/hypervisor/machine.ts";
import { Cr0, Cr4, Efer } from "../src/machine/control-registers.ts";
import { EntryFlag } from "../src/machine/entry.ts";
import { Status } from "../src/machine/exits.ts";
import { vcpuId } from "../src/memory/units.ts";

/** Pages of the data region: two leaf tables full. */
export const DATA_PAGES = 1024;
/** Pages of the device, and of the region that is mostly not present. */
export const OTHER_PAGES = 64;
/** Entries that one fault fills: that of its own page and 31 behind it. */
export const PREFETCH_GROUP = 32;

/** Low halves of the linear addresses of the regions; the high half is 0. A page is 4096 further than the one before. */
export const DATA = 0x4000_0000;
export const ABSENT = 0x5000_0000;
export const DEVICE = 0x6000_0000;
/** High half of the addresses at which all of memory lies once more. */
export const DIRECT_HIGH = 0xffff_8880 | 0;

/** Flags of a leaf entry that needs nothing more: P, RW, US, A and D. */
export const LEAF_FLAGS =
  EntryFlag.present | EntryFlag.writable | EntryFlag.user | EntryFlag.accessed | EntryFlag.dirty;

const DIRECT = signExtended(0x8880_0000_0000);
const PAGE_BYTES = 4096;
const RAM_PAGES = 2048;
/** A processor's lines. */
const LINE_BYTES = 64;

/** Where in its page the word of a data page lies: lines differ, or all words would share one set of the cache. */
export function offsetIn(page: number): number {
  return (page * LINE_BYTES) & (PAGE_BYTES - 1);
}

/** What the word of a data page holds. */
export function wordOf(page: number): number {
  return Math.imul(page + 1, 0x0101_0101);
}

/** What the device answers at the place where a test reads its page. */
export function deviceWordOf(guest: BenchGuest, page: number): number {
  return registerValue(guest.deviceFrame(page), offsetIn(page));
}

/** What must be the same for guests to be comparable but for one thing. */
export interface GuestOptions {
  readonly prefetch: boolean;
  /** Each has an address space of its own, and its own data. */
  readonly vcpus?: number;
}

/** A machine that has been booted as far as its pagetables. */
export class BenchGuest {
  readonly machine: Machine;
  /** Physical addresses of two roots for each vCPU, which differ in nothing but where they lie. */
  readonly roots: readonly (readonly [number, number])[];
  readonly #loader: Loader;
  readonly #dataFrames: readonly (readonly number[])[];

  private constructor(machine: Machine) {
    this.machine = machine;
    this.#loader = new Loader({
      ram: machine.guestRam(),
      format: "4level",
      vcpus: machine.config.vcpus,
    });
    const vcpus = Array.from({ length: machine.config.vcpus }, (_, id) => id);
    this.#dataFrames = vcpus.map(() => Array.from({ length: DATA_PAGES }, () => this.#loader.page()));
    this.roots = this.#dataFrames.map((frames) => this.#buildTables(frames));
  }

  /** A new machine with the pagetables in its memory. */
  static create({ prefetch, vcpus = 1 }: GuestOptions): BenchGuest {
    const config = machineConfig({
      vcpus,
      ramPages: RAM_PAGES * vcpus,
      switches: { ...PRESETS.talk, prefetch },
    });
    return new BenchGuest(Machine.create(config, new RealClock()));
  }

  /** Frame of a data page. */
  dataFrame(page: number): number {
    return this.#dataFrames[0]?.[page] ?? 0;
  }

  /** Frame of a page of the device. */
  deviceFrame(page: number): number {
    return this.#loader.deviceFrame(page);
  }

  /** Physical address of the leaf entry for an address with high half 0, in the first root. */
  leafEntry(low: number): number {
    return this.#loader.tables().entryAddress(this.roots[0]?.[0] ?? 0, low, 1);
  }

  #buildTables(frames: readonly number[]): readonly [number, number] {
    const ram = this.machine.guestRam();
    const tables = this.#loader.tables();
    const root = tables.newRoot();
    const leaf = { flags: LEAF_FLAGS };
    for (const [page, frame] of frames.entries()) {
      tables.mapPage(root, DATA + page * PAGE_BYTES, frame, leaf);
      ram.writeWord(frame * PAGE_BYTES + offsetIn(page), wordOf(page));
    }
    for (let page = 0; page < OTHER_PAGES; page++)
      tables.mapPage(root, DEVICE + page * PAGE_BYTES, this.#loader.deviceFrame(page), leaf);
    // A page that a fault can be taken on, so that prefetch fills the entries behind it, which are not present.
    for (let page = 0; page < OTHER_PAGES; page += PREFETCH_GROUP)
      tables.mapPage(root, ABSENT + page * PAGE_BYTES, frames[0] ?? 0, leaf);
    for (let frame = 0; frame < ram.pages; frame++)
      tables.mapPage(root, DIRECT + frame * PAGE_BYTES, frame, leaf);

    const other = tables.newRoot();
    for (let word = 0; word < PAGE_BYTES; word += 4) ram.writeWord(other + word, ram.readWord(root + word));
    return [root, other];
  }
}

/** Starts a vCPU of the guest: long mode, its own root. In the thread that is to run it. */
export function startVcpu(machine: Machine, id: number, root: number): HostedVcpu {
  const hosted = machine.createVcpu(vcpuId(id), new RealClock());
  const { vcpu } = hosted;
  vcpu.start();
  const statuses = [
    vcpu.writeEfer(Efer.lme | Efer.nxe),
    vcpu.writeCr4(Cr4.pae),
    vcpu.writeCr3(root, 0),
    vcpu.writeCr0(Cr0.pe | Cr0.wp | Cr0.pg),
  ];
  if (statuses.some((status) => status !== Status.done)) throw new Error("the guest did not start");
  return hosted;
}
