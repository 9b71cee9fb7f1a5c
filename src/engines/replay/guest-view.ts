/** The replayed guest's memory and tables as the replay needs to see them: nothing here leaves a trace in the machine. */
import type { ReplayHost } from "../../guest/trace/trace-program.ts";
import type { HostedVcpu, Machine } from "../../hypervisor/machine.ts";
import { EntryFlag } from "../../machine/entry.ts";
import { FaultCode } from "../../machine/fault-code.ts";
import type { Walker } from "../../machine/walker.ts";
import { SHADOWED } from "../../memory/frame-table.ts";
import { PAGE_BYTES, mfn } from "../../memory/units.ts";

const ACCESSED = EntryFlag.accessed;
const WRITE = FaultCode.write;
const USER_WRITE = FaultCode.write | FaultCode.user;
const PAE = 3;

/** One vCPU's view. */
export class GuestView implements ReplayHost {
  readonly #hosted: HostedVcpu;
  readonly #machine: Machine;

  constructor(machine: Machine, hosted: HostedVcpu) {
    this.#machine = machine;
    this.#hosted = hosted;
  }

  readWord(address: number): number {
    return this.#hosted.paging.readGuestWord(address);
  }

  deviceWrite(address: number, value: number): void {
    this.#hosted.paging.deviceWrite(address, value);
  }

  reaches(low: number, high: number, physical: number): boolean {
    const { guest } = this.#hosted.paging;
    if (!guest.observe(low, high, WRITE, true)) return false;
    const { observer } = guest;
    if (observer.frame !== Math.floor(physical / PAGE_BYTES) || observer.dirty === 0) return false;
    const top = guest.format() === PAE ? 2 : guest.format();
    for (let level = observer.leafLevel; level <= top; level++) {
      if (((observer.entryLow[level] ?? 0) & ACCESSED) === 0) return false;
    }
    return true;
  }

  isUserWritable(low: number, high: number): boolean {
    return this.#hosted.paging.guest.observe(low, high, USER_WRITE, true);
  }

  /** Walks the guest's tables for an access; true when they permit it. The answer is in `walk`. */
  observe(low: number, high: number, access: number, alignmentCheck: boolean): boolean {
    return this.#hosted.paging.guest.observe(low, high, access, alignmentCheck);
  }

  /** The last walk that was observed. */
  get walk(): Walker {
    return this.#hosted.paging.guest.observer;
  }

  /** `WalkMode` bits of the guest's registers. */
  mode(alignmentCheck: boolean): number {
    return this.#hosted.paging.guest.mode(alignmentCheck);
  }

  /** Levels of the guest's tables; 2 with paging off. */
  format(): number {
    return this.#hosted.paging.guest.format();
  }

  /** The guest frame that lies in a machine frame. */
  guestFrameOf(frame: number): number {
    return this.#machine.frames.back(mfn(frame));
  }

  /** Whether the page in a machine frame has shadows: then its writes are emulated. */
  isShadowed(frame: number): boolean {
    return (this.#machine.frames.shadowFlags(mfn(frame)) & SHADOWED) !== 0;
  }

  /** Guest physical addresses of the entries of the last walk observed, from the top. */
  entryAddresses(): number[] {
    const { walk } = this;
    const addresses: number[] = [];
    for (let level = this.format(); level >= 1; level--) {
      const cell = walk.entryCell[level] ?? 0;
      if (cell === 0) continue;
      addresses.push(this.guestFrameOf(cell >>> 10) * PAGE_BYTES + (cell & 1023) * 4);
    }
    return addresses;
  }

  /** The guest's walk of an address, and what the shadows say of it. */
  describe(low: number, high: number): { guest: string[]; shadow: string[] } {
    const { paging } = this.#hosted;
    return { guest: paging.describeGuestWalk(low, high), shadow: paging.describeHardwareWalk(low, high) };
  }
}

/** Reads up to eight bytes of guest memory from an address on. */
export class GuestBytes {
  low = 0;
  high = 0;
  readonly #host: ReplayHost;

  constructor(host: ReplayHost) {
    this.#host = host;
  }

  /** Reads `size` bytes; those from the end of the page on are taken from the page at `nextPage`. */
  read(address: number, size: number, nextPage: number): void {
    if (size >= 4 && address % 4 === 0 && (address % PAGE_BYTES) + size <= PAGE_BYTES) {
      this.low = this.#host.readWord(address);
      this.high = size === 8 ? this.#host.readWord(address + 4) : 0;
      return;
    }
    this.low = 0;
    this.high = 0;
    const split = PAGE_BYTES - (address % PAGE_BYTES);
    for (let index = 0; index < size; index++) {
      const at = index < split ? address + index : nextPage + index - split;
      const byte = (this.#host.readWord(at - (at % 4)) >>> ((at % 4) * 8)) & 0xff;
      if (index < 4) this.low |= byte << (index * 8);
      else this.high |= byte << ((index - 4) * 8);
    }
  }
}
