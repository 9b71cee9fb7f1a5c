/**
 * The kernel of a guest, as one vCPU runs it: a boot loader has put it into memory, `Kernel.start` switches paging on and
 * begins to take faults and interrupts. What vCPUs share is in guest memory; an instance holds only what is one vCPU's.
 */
import type { Cpu } from "../cpu.ts";
import type { TrapHandler } from "../memory-operations.ts";
import { KERNEL_SPACE, AddressSpaces } from "./address-spaces.ts";
import { EntryAccess } from "./entry-access.ts";
import { Global } from "./image.ts";
import type { Area, KernelImage } from "./image.ts";
import { MachineCodeEntries } from "./machine-code-entries.ts";
import { PageAllocator } from "./page-allocator.ts";
import { PageTables } from "./page-tables.ts";
import { FLUSH_VECTOR, Shootdown } from "./shootdown.ts";
import { UserMemory } from "./user-memory.ts";
import { Waits } from "./wait.ts";
import { Windows } from "./windows.ts";

const RESERVED = 8;
const OWN_VIEW = 0;

/** One vCPU's kernel. */
export class Kernel implements TrapHandler {
  readonly cpu: Cpu;
  readonly image: KernelImage;
  readonly waits: Waits;
  readonly entries: EntryAccess;
  /** The same, where the kernel has machine code for it. */
  readonly code: MachineCodeEntries | null;
  readonly windows: Windows;
  readonly pages: PageAllocator;
  readonly shootdown: Shootdown;
  readonly tables: PageTables;
  readonly spaces: AddressSpaces;
  readonly memory: UserMemory;
  /** Page faults that this kernel has answered. */
  faults = 0;
  readonly #dataBase: number;

  /** Call `start` instead. */
  constructor(cpu: Cpu, image: KernelImage) {
    this.cpu = cpu;
    this.image = image;
    this.waits = new Waits(cpu, image.spins);
    this.code = image.hasCode ? new MachineCodeEntries(cpu, image.format, image.map.code) : null;
    this.entries = this.code ?? new EntryAccess(cpu, image.format);
    this.windows = new Windows(cpu, this.entries, image);
    this.pages = new PageAllocator(cpu, this.waits, image);
    this.shootdown = new Shootdown(cpu, this.waits, image);
    const { entries, windows, pages, waits, shootdown } = this;
    const tools = { cpu, image, entries, windows, pages };
    this.tables = new PageTables(tools, OWN_VIEW);
    this.spaces = new AddressSpaces(tools, this.tables, waits, shootdown);
    this.memory = new UserMemory({ ...tools, waits, shootdown, spaces: this.spaces, tables: this.tables });
    this.#dataBase = image.map.kernelBase + image.data;
  }

  /** Starts the kernel on a vCPU that has paging off. */
  static start(cpu: Cpu, image: KernelImage): Kernel {
    const kernel = new Kernel(cpu, image);
    cpu.enterKernelMode();
    cpu.enablePaging(image.root);
    cpu.setHandler(kernel);
    kernel.shootdown.goOnline();
    return kernel;
  }

  /** Linear address of a word of the scenario's own kernel data. */
  dataAddress(word: number): number {
    return this.#dataBase + 4 * word;
  }

  /** Makes an address space and runs on it; 0 when there is none to be had. */
  enterNewSpace(): number {
    const space = this.spaces.createSpace();
    if (space !== 0) this.spaces.switchTo(space);
    return space;
  }

  /** Runs on the space that all who give the same key share. */
  enterSharedSpace(key: number): number {
    const space = this.spaces.joinSpace(key);
    if (space === 0) this.cpu.panic("guest", "there is no memory for a shared address space");
    this.spaces.switchTo(space);
    return space;
  }

  /** Leaves the current space for that of the kernel; takes it apart if this was its last user. */
  exitSpace(): void {
    const space = this.spaces.current;
    this.spaces.switchTo(KERNEL_SPACE);
    if (this.spaces.dropUser(space)) this.memory.destroySpace(space);
  }

  /** As `exitSpace`, for a space that was entered by its key. */
  exitSharedSpace(key: number): void {
    const space = this.spaces.current;
    this.spaces.switchTo(KERNEL_SPACE);
    if (this.spaces.leaveShared(key, space)) this.memory.destroySpace(space);
  }

  /** Waits until every vCPU of the machine has come here as often as this one has. */
  meet(): void {
    const { cpu, waits } = this;
    const arrived = this.image.map.kernelBase + this.image.globals + Global.arrived;
    const before = cpu.add32(arrived, 1);
    const wanted = before - (before % cpu.vcpus) + cpu.vcpus;
    if (before + 1 === wanted) waits.wakeAll(arrived);
    for (let seen = before + 1; seen < wanted; seen = cpu.load32(arrived)) waits.waitWhileIs(arrived, seen);
  }

  /** The area of the image with that number. */
  area(index: number): Area {
    const area = this.image.areas[index];
    if (area === undefined) throw new RangeError(`the kernel has no area ${String(index)}`);
    return area;
  }

  /** A page fault, from hardware's point of view: demand paging, copy on write, or none of the kernel's business. */
  pageFault(address: number, errorCode: number): boolean {
    this.faults++;
    if ((errorCode & RESERVED) !== 0) {
      this.cpu.violation("guest", "a page fault reports reserved bits, and no entry has any");
      return false;
    }
    if (address < 0 || this.spaces.current === KERNEL_SPACE) return false;
    const area = this.memory.areaOf(address);
    return area !== null && area.backing !== "manual" && this.memory.resolveFault(area, address, errorCode);
  }

  /** Interrupts from other vCPUs. */
  deviceInterrupt(vectors: number): void {
    if ((vectors & (1 << FLUSH_VECTOR)) !== 0) this.shootdown.answer();
  }

  /** This vCPU's program has ended. */
  goOffline(): void {
    this.shootdown.goOffline();
  }
}
