/**
 * What guests and toolstack programs may ask of the world outside their vCPUs. The engine supplies both; the guest room
 * never sees the hypervisor.
 */

/** Guest memory as a boot loader sees it: before any vCPU runs, by guest physical address. */
export interface GuestRam {
  /** Pages of guest memory. */
  readonly pages: number;
  /** The 32-bit word at a guest physical address, a multiple of 4. */
  readWord(address: number): number;
  /** Writes the 32-bit word at a guest physical address, a multiple of 4. */
  writeWord(address: number, value: number): void;
}

/** What memory can be: as usual, read-only, so that what is written is discarded, or with its first writes noted. */
export type MemoryType = "read-write" | "read-only" | "log-dirty";

/** The toolstack's calls, made by a program on a thread of its own while vCPUs run (spec 19, domctl and p2m). */
export interface Toolstack {
  /** False once the run is over. */
  running(): boolean;
  /** Takes a page of memory from the guest (balloon): its gfn is emulated MMIO afterwards. */
  removePage(gfn: number): void;
  /** Gives the guest a fresh, poisoned frame at a gfn that has none. False when the machine has no frame left. */
  addPage(gfn: number): boolean;
  /** Moves a page of memory to another machine frame, contents and all. False when the machine has no frame left. */
  movePage(gfn: number): boolean;
  /** Makes memory read-write, read-only or log-dirty. False, as of all calls that follow: the page is none that can be. */
  setPageType(gfn: number, type: MemoryType): boolean;
  /** Takes what is in a page, which is all zero when it is next used, and has no frame until then. */
  populateOnDemand(gfn: number): boolean;
  /** Puts a page of a device's own memory, all zero, at a gfn that has none. `removePage` takes it away. */
  mapDevice(gfn: number): boolean;
  /** A pager is about to take a page of memory: who uses it from now on waits until the pager loads it. */
  nominatePage(gfn: number): boolean;
  /** Takes the page's frame. False also when somebody has wanted the page since it was nominated. */
  evictPage(gfn: number): boolean;
  /** The gfn of a page that a vCPU waits for, -1 for none. */
  requestedPage(): number;
  /** Gives a page back, with words of `from` in it if its frame had gone, and whoever waits for it goes on. */
  loadPage(gfn: number, from: Int32Array, at: number, words: number): boolean;
  /** Sets the size of the shadow pool, in pages; returns the size it has now. */
  setAllocation(pages: number): number;
  /** Pages of the shadow pool. */
  allocation(): number;
  /** Writes to guest memory as a device does, and tells the paging interface. Address a multiple of 4. */
  deviceWrite(address: number, value: number): void;
  /** Begins to log which pages are written. A `DomctlAnswer`, as of all calls that follow. */
  enableLogDirty(): number;
  /** Ends that. */
  disableLogDirty(): number;
  /** Takes the pages written since the last harvest: a bit for each in whole words. The domain is paused or runs on. */
  harvestDirty(bitmap: Int32Array, isPaused: boolean): number;
  /** The same without taking them. */
  peekDirty(bitmap: Int32Array): number;
  /**
   * Which pages of a frame buffer have changed since the last call: a bit for each of the `pages` from gfn `first` on. The
   * first call for a range answers `noData`; one for no pages ends the tracking. `milliseconds` is the program's own time.
   */
  trackVram(first: number, pages: number, bitmap: Int32Array, milliseconds: number): number;
  /** Stops all vCPUs; returns when none runs. */
  pauseDomain(): void;
  /** Lets them run on. */
  unpauseDomain(): void;
  /** Copies the first words of a page to a place of `into`. False when no memory is there. */
  readPage(gfn: number, into: Int32Array, at: number, words: number): boolean;
  /** Records something wrong that the toolstack's program has found. */
  violation(check: string, message: string): void;
  /** Destroys the domain while its vCPUs run. */
  destroy(): void;
  /** Lets at least so many guest operations of all vCPUs pass, or returns when the run is over or a vCPU waits for a page. */
  letRun(operations: number): void;
  /** A number below `bound` from the program's own generator. */
  random(bound: number): number;
}

/** Operations of the `hypercall` instruction. */
export const Hypercall = { nothing: 0, vcpuCount: 1, pagetableDying: 2 } as const;
