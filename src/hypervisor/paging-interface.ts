/**
 * The paging interface: the talk's last slide (spec 19). Everything outside an assistance mode reaches guest paging
 * through it; the lock behind it is the mode's own business.
 */
import type { Exits } from "../machine/exits.ts";

/** Paging assistance for one vCPU. The exits of the vCPU are part of it. */
export interface PagingInterface extends Exits {
  /** The vCPU gets its mode: paging off, on the identity table, as after reset. */
  initVcpu(): void;
  /** The vCPU gives up all that it holds. Its thread calls this once it will not run again. */
  teardownVcpu(): void;

  /** A p2m entry is about to change from memory `oldFrame` (NO_MFN: none). The p2m lock is held. Locks the mode. */
  beginP2mWrite(oldFrame: number): void;
  /** The entry has been changed: shadows made for the old one go, the mode's lock is released. */
  endP2mWrite(): void;

  /** Sets the pages that the mode may use; returns how many it has then. A dying domain keeps what it has. */
  setAllocation(pages: number): number;
  /** Pages that the mode has. */
  allocation(): number;

  /** A device stored a word into guest memory. False when the address is no memory. */
  deviceWrite(address: number, value: number): boolean;
  /** A word of guest memory, by guest physical address; 0 where there is none. */
  readGuestWord(address: number): number;

  /** Walks the guest's own tables without side effects; the answer is in the three fields. False: not mapped. */
  translateGuest(low: number, high: number): boolean;
  readonly guestFrame: number;
  readonly guestPageShift: number;
  readonly guestRights: number;

  /** Looks an address up in this vCPU's shadow tables; the answer is in the fields. False: no leaf table. */
  shadowLeaf(low: number, high: number): boolean;
  readonly leafLow: number;
  readonly leafHigh: number;
  readonly level2Low: number;
  readonly level2High: number;

  /** The guest's walk of an address, a line a level, for people. */
  describeGuestWalk(low: number, high: number): string[];
  /** The shadow walk of an address, a line a level, for people. */
  describeShadowWalk(low: number, high: number): string[];
}
