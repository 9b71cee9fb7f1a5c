/** Locks on one thread: while one vCPU waits, the test does what the others would do. */
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { LockCell, QueueCell, lockArea, queueNode } from "../../src/locks/lock-area.ts";
import { LOCK_CLASSES, LockSite, lockSiteName } from "../../src/locks/lock-class.ts";
import type { LockSiteName } from "../../src/locks/lock-class.ts";
import type { LockKind } from "../../src/locks/gate.ts";
import type { RecursiveLock } from "../../src/locks/lock.ts";
import { describeLock, readLockStatistics } from "../../src/locks/lock-statistics.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { TestVcpu, smallLayout } from "./test-vcpu.ts";

const KINDS = ["test-and-set", "ticket", "mcs", "futex"] as const;
const PAGING = LOCK_NAMES.indexOf("paging");
/** Those that are such locks: of the other kinds a machine has many, which are not recursive. */
const SINGLE = ["p2m", "paging", "heap"] as const;

class Machine {
  readonly layout = smallLayout(4);
  readonly memory = SharedMemory.create(this.layout.words);
  readonly vcpus = [0, 1, 2, 3].map((id) => new TestVcpu(this.memory, this.layout, id));
  readonly kind: LockKind;

  constructor(kind: LockKind) {
    this.kind = kind;
  }

  vcpu(id: number): TestVcpu {
    const found = this.vcpus[id];
    if (found === undefined) throw new RangeError(`no vCPU ${id}`);
    return found;
  }

  paging(id: number): RecursiveLock {
    return this.vcpu(id).lock("paging", this.kind);
  }

  get statistics(): ReturnType<typeof readLockStatistics> {
    return readLockStatistics(this.memory, this.layout, PAGING);
  }

  get holder(): ReturnType<typeof describeLock> {
    return describeLock(this.memory, this.layout, PAGING);
  }
}

describe.each(KINDS)("a %s lock", (kind) => {
  test("is held from the first acquisition to the last release", () => {
    const machine = new Machine(kind);
    const lock = machine.paging(2);
    const free = { name: "paging", vcpu: undefined, site: undefined };
    expect(machine.holder).toEqual(free);
    lock.acquire(LockSite.page_fault);
    lock.acquire(LockSite.remove_shadows);
    expect(machine.holder).toEqual({ name: "paging", vcpu: 2, site: "page_fault" });
    lock.release();
    expect([lock.isHeldByMe(), machine.paging(1).isHeldByMe()]).toEqual([true, false]);
    lock.release();
    expect(lock.isHeldByMe()).toBe(false);
    expect(machine.holder).toEqual(free);
    expect(machine.vcpu(2).messages).toEqual([]);
    expect(machine.statistics.acquisitions).toBe(1);
  });

  test.each(Object.keys(LockSite) as LockSiteName[])("taken twice at %s is a finding or is legal", (site) => {
    const machine = new Machine(kind);
    const lock = machine.paging(0);
    lock.acquire(LockSite.domain_init);
    lock.acquire(LockSite[site]);
    const legal = [
      "remove_shadows",
      "remove_all_mappings",
      "update_cr3",
      "p2m_write",
      "emulate_write",
      "log_dirty",
    ];
    const sentence =
      `vCPU 0 takes the paging lock at ${site}, which may not take it twice, ` +
      "while it holds the paging lock taken at domain_init.";
    expect(machine.vcpu(0).messages).toEqual(legal.includes(site) ? [] : [sentence]);
    lock.release();
    expect(lock.isHeldByMe()).toBe(true);
    lock.release();
    expect(lock.isHeldByMe()).toBe(false);
  });

  test("released by another vCPU stays as it was", () => {
    const machine = new Machine(kind);
    machine.paging(0).acquire(LockSite.invlpg);
    machine.paging(1).release();
    expect(machine.vcpu(1).checks).toEqual(["lock-release"]);
    expect(machine.vcpu(1).messages).toEqual([
      "vCPU 1 releases the paging lock, which vCPU 0 holds since invlpg.",
    ]);
    expect(machine.holder).toEqual({ name: "paging", vcpu: 0, site: "invlpg" });
    machine.paging(0).release();
    machine.paging(0).release();
    expect(machine.vcpu(0).messages).toEqual(["vCPU 0 releases the paging lock, which nobody holds."]);
  });

  test("counts and times the wait of a vCPU, which says meanwhile what it waits for", () => {
    const machine = new Machine(kind);
    const waiter = machine.vcpu(1);
    const seen: number[] = [];
    let served = 0;
    waiter.onServe = () => served++;
    waiter.meanwhile = () => {
      seen.push(waiter.waitsFor);
      if (seen.length === 3) machine.paging(0).release();
    };
    machine.paging(0).acquire(LockSite.test);
    machine.paging(1).acquire(LockSite.test);
    expect({ seen, served, waitsFor: waiter.waitsFor }).toEqual({ seen: [2, 2, 2], served: 3, waitsFor: 0 });
    machine.paging(1).release();
    machine.paging(1).acquire(LockSite.test);
    const waitBuckets = Array.from({ length: 32 }, (_, bucket) => (bucket === 9 ? 1 : 0));
    expect(machine.statistics).toMatchObject({
      acquisitions: 3,
      contentions: 1,
      ownerChanges: 1,
      waitNanosTotal: 1000,
      waitNanosMin: 1000,
      waitNanosMax: 1000,
      waitBuckets,
    });
  });

  test("wakes those who sleep on it, and only when somebody does", () => {
    expect([false, true].map((sleeps) => wokenAtRelease(kind, sleeps))).toEqual([[], [WAKES[kind]]]);
  });

  test("reads the clock only for waits and for one hold in 64", () => {
    const machine = new Machine(kind);
    const lock = machine.paging(0);
    const took = (times: number): void => {
      for (let round = 0; round < times; round++) {
        lock.acquire(LockSite.test);
        lock.release();
      }
    };
    took(63);
    expect(machine.statistics.holdSamples).toBe(0);
    took(64);
    expect(machine.vcpu(0).clock.now()).toBe(3000);
    const holdBuckets = Array.from({ length: 32 }, (_, bucket) => (bucket === 9 ? 1 : 0));
    expect(machine.statistics).toMatchObject({
      acquisitions: 127,
      contentions: 0,
      ownerChanges: 0,
      holdSamples: 1,
      holdNanosTotal: 1000,
      holdNanosMin: 1000,
      holdNanosMax: 1000,
      holdBuckets,
    });
  });
});

/** How many are woken by whoever leaves. */
const WAKES = { "test-and-set": "all", ticket: "all", mcs: "all", futex: "one" } as const;

/** Whom a release wakes while another vCPU waits, asleep or not. */
function wokenAtRelease(kind: LockKind, sleeps: boolean): string[] {
  const machine = new Machine(kind);
  const area = lockArea(machine.layout, PAGING);
  const cell = {
    "test-and-set": area + LockCell.held,
    ticket: area + LockCell.nowServing,
    mcs: queueNode(machine.layout, 1, PAGING) + QueueCell.waits,
    futex: area + LockCell.state,
  }[kind];
  const notify = vi.spyOn(Atomics, "notify");
  machine.vcpu(1).meanwhile = () => {
    machine.memory.storeWord(cell + 1, sleeps ? 1 : 0);
    machine.paging(0).release();
  };
  machine.paging(0).acquire(LockSite.test);
  machine.paging(1).acquire(LockSite.test);
  const { calls } = notify.mock;
  notify.mockRestore();
  expect(calls.map(([, index]) => index)).toEqual(sleeps ? [cell] : []);
  return calls.map(([, , count]) => (count === undefined ? "all" : count === 1 ? "one" : String(count)));
}

test("a futex-style lock for which nobody waits is released without a look for sleepers", () => {
  const machine = new Machine("futex");
  const looks = vi.spyOn(machine.memory, "loadWord");
  machine.paging(0).acquire(LockSite.test);
  machine.paging(0).release();
  expect(looks).not.toHaveBeenCalled();
});

test("a newcomer overtakes a waiter at a lock that has no order, and at no other", () => {
  expect(KINDS.map(overtakes)).toEqual([true, false, false, true]);
});

/** Whether a vCPU that comes when the lock has just been released has it before the one that waits. */
function overtakes(kind: LockKind): boolean {
  const machine = new Machine(kind);
  const newcomer = machine.vcpu(2);
  const mustWait = new Error("must wait");
  let first: number | undefined;
  newcomer.meanwhile = () => {
    throw mustWait;
  };
  machine.vcpu(1).meanwhile = () => {
    if (first !== undefined) throw mustWait;
    machine.paging(0).release();
    try {
      machine.paging(2).acquire(LockSite.test);
      first = 2;
      machine.paging(2).release();
    } catch (error) {
      if (error !== mustWait) throw error;
    }
  };
  machine.paging(0).acquire(LockSite.test);
  machine.paging(1).acquire(LockSite.test);
  first ??= 1;
  return first === 2;
}

describe("the order of locks", () => {
  test("rises with the table", () => {
    expect(LOCK_CLASSES.map(({ name, index, rank }) => ({ name, index, rank }))).toEqual([
      { name: "p2m", index: 0, rank: 16 },
      { name: "paging", index: 1, rank: 64 },
      { name: "paging in part", index: 2, rank: 64 },
      { name: "table", index: 3, rank: 66 },
      { name: "frame", index: 4, rank: 68 },
      { name: "heap", index: 5, rank: 72 },
    ]);
  });

  test("taken the wrong way is a finding that names both locks and places", () => {
    const machine = new Machine("ticket");
    const vcpu = machine.vcpu(3);
    vcpu.lock("paging", "ticket").acquire(LockSite.page_fault);
    vcpu.lock("p2m", "ticket").acquire(LockSite.p2m_write);
    expect(vcpu.checks).toEqual(["lock-order"]);
    expect(vcpu.messages).toEqual([
      "vCPU 3 takes the p2m lock (rank 16) at p2m_write while it holds the paging lock taken at page_fault of rank 64.",
    ]);
  });

  test("lets no lock be taken beside one of its own rank", () => {
    const { held } = new Machine("ticket").vcpu(0);
    held.noteAcquired(PAGING, 64, LockSite.test);
    expect([63, 64, 65].map((rank) => held.allowsRank(rank))).toEqual([false, false, true]);
  });

  test("is no matter once a lock was released, in whatever order", () => {
    const vcpu = new Machine("ticket").vcpu(0);
    const [p2m, paging, heap] = SINGLE.map((name) => vcpu.lock(name, "ticket"));
    p2m?.acquire(LockSite.p2m_write);
    paging?.acquire(LockSite.p2m_write);
    p2m?.release();
    heap?.acquire(LockSite.heap_alloc);
    expect(vcpu.held.describe()).toBe(
      "the paging lock taken at p2m_write, the heap lock taken at heap_alloc",
    );
    paging?.release();
    heap?.release();
    p2m?.acquire(LockSite.test);
    expect(vcpu.checks).toEqual([]);
  });

  test("ends with nothing held, or it is a finding", () => {
    const vcpu = new Machine("test-and-set").vcpu(1);
    const heap = vcpu.lock("heap", "test-and-set");
    vcpu.held.checkNoneHeld("the page fault");
    expect(vcpu.checks).toEqual([]);
    heap.acquire(LockSite.heap_free);
    expect(vcpu.held.isEmpty()).toBe(false);
    vcpu.held.checkNoneHeld("the page fault");
    expect(vcpu.checks).toEqual(["lock-held-at-exit"]);
    expect(vcpu.messages).toEqual([
      "vCPU 1 leaves the page fault while it holds the heap lock taken at heap_free.",
    ]);
    heap.release();
    expect([vcpu.held.isEmpty(), vcpu.held.describe()]).toEqual([true, "no lock"]);
  });
});

interface Step {
  readonly lock: number;
  /** Undefined for a release. */
  readonly site: LockSiteName | undefined;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    lock: fc.nat({ max: SINGLE.length - 1 }),
    site: fc.constantFrom<Step["site"][]>(undefined, undefined, "test", "update_cr3"),
  }),
);

/** What a vCPU alone must hear about its use of locks, and what it holds in the end. */
function expected(sequence: readonly Step[]): { checks: string[]; held: string } {
  const held: { lock: number; site: string; depth: number }[] = [];
  const checks: string[] = [];
  for (const { lock, site } of sequence) {
    const mine = held.find((each) => each.lock === lock);
    if (site === undefined) {
      if (mine === undefined) checks.push("lock-release");
      else if (--mine.depth === 0) held.splice(held.indexOf(mine), 1);
    } else if (mine !== undefined) {
      if (SINGLE[lock] !== "paging" || site !== "update_cr3") checks.push("lock-order");
      mine.depth++;
    } else {
      if ((held.at(-1)?.lock ?? -1) > lock) checks.push("lock-order");
      held.push({ lock, site, depth: 1 });
    }
  }
  const places = held.map(({ lock, site }) => `the ${SINGLE[lock] ?? ""} lock taken at ${site}`);
  return { checks, held: places.join(", ") || "no lock" };
}

test.each(KINDS)("any use of %s locks is judged as the model of ten lines judges it", (kind) => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const vcpu = new Machine(kind).vcpu(0);
      for (const { lock, site } of sequence) {
        const name = SINGLE[lock] ?? "heap";
        if (site === undefined) vcpu.lock(name, kind).release();
        else vcpu.lock(name, kind).acquire(LockSite[site]);
      }
      expect({ checks: vcpu.checks, held: vcpu.held.describe() }).toEqual(expected(sequence));
    }),
  );
});

test("places have the names of the table", () => {
  expect(Object.values(LockSite).map(lockSiteName)).toEqual(Object.keys(LockSite));
  expect([lockSiteName(0), lockSiteName(99)]).toEqual(["a place unknown", "site 99"]);
});
