/**
 * The paging interface: the talk's last slide (spec 19). Everything outside an assistance mode reaches guest paging
 * through it; the lock behind it is the mode's own business.
 */
import type { Exits } from "../machine/exits.ts";
import type { GuestState } from "./guest-state.ts";
import type { LogDirty } from "./log-dirty.ts";

/** Paging assistance for one vCPU. The exits of the vCPU are part of it. */
export interface PagingInterface extends Exits {
  /** The guest's registers and its walks, as the hypervisor makes them. */
  readonly guest: GuestState;

  /** The domain, whose memory is in the p2m, gets what the mode needs for it. No vCPU runs yet, and nobody else looks. */
  initDomain(): void;
  /**
   * The mode gives up all that it has of the domain, also what vCPUs hold that died. No vCPU runs; the p2m lock and the
   * mode's are held. Adds a sentence for each thing that is left over.
   */
  teardownDomain(leaks: string[]): void;
  /** The vCPU gets its mode: paging off, on the identity table, as after reset. */
  initVcpu(): void;
  /** The vCPU gives up all that it holds. Its thread calls this once it will not run again. */
  teardownVcpu(): void;

  /**
   * The p2m entry of a gfn is about to change from memory `oldFrame` (NO_MFN: none). The p2m lock is held. Locks the mode;
   * no table and no TLB leads to the old frame any more.
   */
  beginP2mWrite(gfn: number, oldFrame: number): void;
  /**
   * The entry has been changed, and what the old one named may go to others after this: whoever read the old one without a
   * lock is done with it.
   */
  awaitP2mReaders(): void;
  /** The entry has been changed, or left as it was: the mode follows it, and its lock is released. */
  endP2mWrite(gfn: number): void;

  /** Sets the pages that the mode may use; returns how many it has then. A dying domain keeps what it has. */
  setAllocation(pages: number): number;
  /** Pages that the mode has. */
  allocation(): number;

  /** The log of dirty pages; the mode marks what its guest writes. */
  readonly logDirty: LogDirty;
  /**
   * No page stays mapped as it was: each mapping is made anew, by the rules of then, and every vCPU has flushed. For this
   * and the next the caller holds the mode's lock.
   */
  dropMappings(): void;
  /**
   * Takes write access from a part of all mappings, from a position on, the first of which is 0. Answers the next, or -1
   * when no page can be written without a fault that was not made writable since, and every vCPU has flushed.
   */
  protectPart(position: number): number;

  /**
   * Begins to track a frame buffer, in `logDirty.vram`: no page of it can be written unseen, and every vCPU has flushed. For
   * this and the next, too, the caller holds the mode's lock. `milliseconds` is its time.
   */
  beginVram(first: number, pages: number, milliseconds: number): void;
  /**
   * Hands over which of its pages have changed since the last look, and returns how many. What is written to a page after
   * this, through whatever TLB, is seen by the next.
   */
  lookAtVram(bitmap: Int32Array, milliseconds: number): number;

  /** A device stored a word into guest memory. False when the address is no memory. */
  deviceWrite(address: number, value: number): boolean;
  /** A word of guest memory, by guest physical address; 0 where there is none. */
  readGuestWord(address: number): number;

  /** The guest's walk of an address, a line a level, for people. */
  describeGuestWalk(low: number, high: number): string[];
  /** What hardware finds for an address in the tables that the mode gave it, a line a level, for people. */
  describeHardwareWalk(low: number, high: number): string[];
}
