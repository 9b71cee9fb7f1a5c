/**
 * The benchmarks. Each is a class, and each is measured in a process of its own, so that the optimiser sees of the
 * machine what one benchmark shows it.
 */
import { LockSite } from "../src/locks/lock-class.ts";
import type { HostedVcpu } from "../src/hypervisor/machine.ts";
import type { Benchmark, Counts } from "./benchmark.ts";
import {
  ABSENT,
  BenchGuest,
  DATA,
  DATA_PAGES,
  DEVICE,
  DIRECT_HIGH,
  LEAF_FLAGS,
  OTHER_PAGES,
  PREFETCH_GROUP,
  deviceWordOf,
  offsetIn,
  startVcpu,
  wordOf,
} from "./guest.ts";

/** Pages in use at once where all shall be TLB hits: half the default TLB, four ways of each set. */
const HOT_PAGES = 256;

/** The results of loads, summed up. Status 0 adds nothing, any other status much. */
function add(sum: number, status: number, result: number): number {
  return (sum + result + Math.imul(status, 0x4000_0001)) | 0;
}

function sumOver(pages: number, of: (page: number) => number): number {
  let sum = 0;
  for (let page = 0; page < pages; page++) sum = (sum + of(page)) | 0;
  return sum;
}

/** What all benchmarks with pages have. */
abstract class PageBenchmark {
  readonly guest: BenchGuest;
  readonly hosted: HostedVcpu;

  constructor(prefetch: boolean) {
    this.guest = BenchGuest.create({ prefetch });
    this.hosted = startVcpu(this.guest.machine, 0, this.guest.roots[0]?.[0] ?? 0);
  }

  /** Loads the word of each of the first `pages` pages of a region. */
  loadPages(region: number, pages: number): number {
    const { vcpu } = this.hosted;
    let sum = 0;
    for (let page = 0; page < pages; page++) {
      const status = vcpu.load((region + (page << 12)) | offsetIn(page), 0, 4);
      sum = add(sum, status, vcpu.resultLow);
    }
    return sum;
  }

  /** Cells of the leaf shadow entries of the data pages. The pages must have been touched. */
  leafCells(): Int32Array {
    const { tables } = this.hosted.shadow;
    return Int32Array.from({ length: DATA_PAGES }, (_, page) => {
      tables.findLeaf(DATA + (page << 12), 0);
      return tables.leafCell;
    });
  }

  /** Makes leaf shadow entries absent as the hypervisor would, with all counts kept, and empties the TLB. */
  clearLeaves(cells: Int32Array): void {
    const { lock, entries } = this.hosted.shadow;
    lock.acquire(LockSite.test);
    for (const cell of cells) entries.setLeaf(cell, 0, 0);
    lock.release();
    this.hosted.vcpu.tlb.flush();
  }
}

/** See the table of figures. */
export class TlbHit extends PageBenchmark implements Benchmark {
  readonly counts: Counts = { tlb_hits: 1 };
  readonly operations = HOT_PAGES * 32;
  readonly sum = Math.imul(sumOver(HOT_PAGES, wordOf), 32);

  constructor() {
    super(true);
    this.loadPages(DATA, HOT_PAGES);
  }

  prepare(): void {}

  run(): number {
    let sum = 0;
    for (let pass = 0; pass < 32; pass++) sum = (sum + this.loadPages(DATA, HOT_PAGES)) | 0;
    return sum;
  }
}

/** See the table of figures. */
export class DemandFault extends PageBenchmark implements Benchmark {
  readonly counts: Counts = {
    exits: 1,
    demand_faults: 1,
    fault: 1,
    fault_fixed: 1,
    guest_walk: 1,
    shadow_walks: 2,
    locks: 1,
  };
  readonly operations = DATA_PAGES;
  readonly sum = sumOver(DATA_PAGES, wordOf);
  readonly #cells: Int32Array;

  constructor() {
    super(false);
    this.loadPages(DATA, DATA_PAGES);
    this.#cells = this.leafCells();
  }

  prepare(): void {
    this.clearLeaves(this.#cells);
  }

  run(): number {
    return this.loadPages(DATA, DATA_PAGES);
  }
}

/** See the table of figures. */
export class PrefetchedAccess extends PageBenchmark implements Benchmark {
  readonly counts: Counts = { shadow_walks: 1 };
  readonly operations = DATA_PAGES - DATA_PAGES / PREFETCH_GROUP;
  readonly sum = sumOver(DATA_PAGES, (page) => (page % PREFETCH_GROUP === 0 ? 0 : wordOf(page)));
  readonly #cells: Int32Array;

  constructor() {
    super(true);
    this.loadPages(DATA, DATA_PAGES);
    this.#cells = this.leafCells();
  }

  /** One fault in each group fills all of it. */
  prepare(): void {
    this.clearLeaves(this.#cells);
    for (let page = 0; page < DATA_PAGES; page += PREFETCH_GROUP)
      this.hosted.vcpu.load(DATA + (page << 12), 0, 4);
    this.hosted.vcpu.tlb.flush();
  }

  run(): number {
    const { vcpu } = this.hosted;
    let sum = 0;
    for (let page = 0; page < DATA_PAGES; page++) {
      if (page % PREFETCH_GROUP === 0) continue;
      const status = vcpu.load((DATA + (page << 12)) | offsetIn(page), 0, 4);
      sum = add(sum, status, vcpu.resultLow);
    }
    return sum;
  }
}

/** See the table of figures. */
export class NotPresent extends PageBenchmark implements Benchmark {
  readonly counts: Counts = {
    shadow_walks: 1,
    exits: 1,
    demand_faults: 1,
    fault: 1,
    fault_fast_gnp: 1,
    injected: 1,
  };
  readonly operations = (OTHER_PAGES - OTHER_PAGES / PREFETCH_GROUP) * 64;
  /** Error code of a supervisor's load: 0. Status: 1. */
  readonly sum = this.operations;

  constructor() {
    super(true);
    for (let page = 0; page < OTHER_PAGES; page += PREFETCH_GROUP)
      this.hosted.vcpu.load(ABSENT + (page << 12), 0, 4);
  }

  prepare(): void {}

  run(): number {
    const { vcpu } = this.hosted;
    let sum = 0;
    for (let pass = 0; pass < 64; pass++) {
      for (let page = 0; page < OTHER_PAGES; page++) {
        if (page % PREFETCH_GROUP === 0) continue;
        const status = vcpu.load(ABSENT + (page << 12), 0, 4);
        sum = (sum + status + vcpu.faultErrorCode) | 0;
      }
    }
    return sum;
  }
}

/** See the table of figures. */
export class Mmio extends PageBenchmark implements Benchmark {
  readonly counts: Counts = {
    shadow_walks: 1,
    exits: 1,
    demand_faults: 1,
    fault: 1,
    fault_fast_mmio: 1,
    mmio: 1,
  };
  readonly operations = OTHER_PAGES * 64;
  readonly sum: number;

  constructor() {
    super(true);
    this.sum = Math.imul(
      sumOver(OTHER_PAGES, (page) => deviceWordOf(this.guest, page)),
      64,
    );
    this.loadPages(DEVICE, OTHER_PAGES);
  }

  prepare(): void {}

  run(): number {
    let sum = 0;
    for (let pass = 0; pass < 64; pass++) sum = (sum + this.loadPages(DEVICE, OTHER_PAGES)) | 0;
    return sum;
  }
}

/** Each store makes an entry of a shadowed level 1 table map another frame than before. */
/** See the table of figures. */
export class EmulatedStore extends PageBenchmark implements Benchmark {
  readonly counts: Counts = {
    shadow_walks: 1,
    exits: 1,
    demand_faults: 1,
    fault: 1,
    fault_emulate_write: 1,
    emulated_stores: 1,
    write_validated: 1,
    validate_gl1e_calls: 1,
    get_shadow_status: 1,
    hash_lookups: 1,
    hash_lookup_head: 1,
    guest_walk: 2,
    locks: 1,
  };
  readonly operations = 512;
  readonly sum = this.operations;
  readonly #table: number;
  readonly #frames: Int32Array;
  #shift = 0;

  constructor() {
    super(true);
    this.loadPages(DATA, DATA_PAGES);
    this.#table = this.guest.leafEntry(DATA);
    this.#frames = Int32Array.from({ length: DATA_PAGES }, (_, page) => this.guest.dataFrame(page));
    this.run();
  }

  /** Entry n maps data page n in one round and data page n + 1 in the next. */
  prepare(): void {
    this.#shift ^= 1;
  }

  run(): number {
    const { vcpu } = this.hosted;
    let done = 0;
    for (let entry = 0; entry < this.operations; entry++) {
      const low = ((this.#frames[entry + this.#shift] ?? 0) << 12) | LEAF_FLAGS;
      const status = vcpu.store(this.#table + entry * 8, DIRECT_HIGH, 8, low, 0);
      done += status === 0 ? 1 : 0;
    }
    return done;
  }
}

/** See the table of figures. */
export class CachedRoot extends PageBenchmark implements Benchmark {
  readonly counts: Counts = {
    exits: 1,
    update_cr3: 1,
    local_flushes: 1,
    hash_lookups: 1,
    hash_lookup_head: 1,
    pin: 1,
    locks: 1,
  };
  readonly operations = 512;
  readonly sum = this.operations;

  constructor() {
    super(true);
    this.run();
  }

  prepare(): void {}

  run(): number {
    const { vcpu } = this.hosted;
    const [first, second] = this.guest.roots[0] ?? [0, 0];
    let done = 0;
    for (let switches = 0; switches < this.operations; switches++)
      done += vcpu.writeCr3((switches & 1) === 0 ? second : first, 0) === 0 ? 1 : 0;
    return done;
  }
}

/** See the table of figures. */
export class Invlpg extends PageBenchmark implements Benchmark {
  readonly counts: Counts = { exits: 1, invlpg: 1 };
  readonly operations = DATA_PAGES;
  readonly sum = this.operations;

  constructor() {
    super(true);
    this.prepare();
  }

  /** The TLB is full when a round begins; each operation finds its page in it, or not, as guests' do. */
  prepare(): void {
    this.loadPages(DATA, DATA_PAGES);
  }

  run(): number {
    const { vcpu } = this.hosted;
    let done = 0;
    for (let page = 0; page < DATA_PAGES; page++) done += vcpu.invlpg(DATA + (page << 12), 0) === 0 ? 1 : 0;
    return done;
  }
}

/** See the table of figures. */
export class LockPair extends PageBenchmark implements Benchmark {
  readonly counts: Counts = { locks: 1 };
  readonly operations = 8192;
  readonly sum = this.operations;

  constructor() {
    super(true);
  }

  prepare(): void {}

  run(): number {
    const { lock } = this.hosted.shadow;
    let held = 0;
    for (let pair = 0; pair < this.operations; pair++) {
      lock.acquire(LockSite.test);
      held += lock.isHeldByMe() ? 1 : 0;
      lock.release();
    }
    return held;
  }
}
