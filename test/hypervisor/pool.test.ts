/** The shadow pool: preallocation in two stages, reuse, the deferred flush, the size (spec 3.6 to 3.9, 14.8). */
import { describe, expect, test } from "vitest";
import { minimumPool } from "../../src/hypervisor/machine-config.ts";
import { ShadowType, rootTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { FORMATS, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";
import type { Setup } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;

/** The pages that are free now. */
function freePages(machine: TestMachine): number {
  return machine.shadow.domain.read(DomainCell.poolFree);
}

/** Makes the pool no bigger than what is in use and `spare` pages more. */
function leave(machine: TestMachine, spare: number): void {
  machine.locked(({ pool, domain }) => {
    pool.minimum = (): number => 1;
    pool.setAllocation(domain.read(DomainCell.poolTotal) - freePages(machine) + spare);
  });
}

/** A guest with `count` trees, all of them loaded once and used; the first again at the end. */
function withTrees(setup: Setup, count: number): { machine: TestMachine; trees: TestMachine["tables"][] } {
  const machine = new TestMachine(setup);
  const trees = [machine.tables, ...Array.from({ length: count - 1 }, () => machine.newTables())];
  for (const tree of trees) tree.map(ADDRESS, PAGE, USER_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  for (const tree of [...trees, machine.tables]) {
    machine.cpu.cr3(tree.cr3);
    machine.cpu.read(ADDRESS);
  }
  return { machine, trees };
}

function rootGfn(tree: TestMachine["tables"], levels: GuestLevels): number {
  return levels === 3 ? tree.tableAt(0n, 2) : tree.root;
}

describe.each(FORMATS)("when a pool for %i levels is short", (levels) => {
  test("roots are given up first, the one loaded longest ago before others", () => {
    const { machine, trees } = withTrees({ levels }, 3);
    const isShadowed = (): boolean[] =>
      trees.map((tree) => machine.shadowOf(rootGfn(tree, levels), rootTypeOf(levels)) !== 0);
    // The identity table, which no vCPU runs on any more, is older than any of them.
    machine.locked(({ references, hash, domain }) =>
      references.unpin(hash.lookup(domain.read(DomainCell.unpagedTable), ShadowType.l2_32)),
    );
    leave(machine, 0);
    expect(machine.locked(({ pool }) => pool.prealloc(ShadowType.monitor_table, 1))).toBe(true);
    // PAE: only the first of the tree's four roots had to go.
    const second =
      levels === 3 ? machine.shadowOf((trees[1] ?? machine.tables).tableAt(0n, 2), 6) === 0 : false;
    expect(isShadowed()).toEqual([true, second ? false : levels === 3, true]);
    expect([machine.count("prealloc_1"), machine.count("prealloc_2")]).toEqual([1, 0]);
    expect(machine.finish()).toEqual([]);
  });

  test("roots in use lose only their pin, and then their trees are cut and everybody flushed", () => {
    const machine = new TestMachine({ levels, vcpus: 2 });
    machine.tables.map(ADDRESS, PAGE, USER_PAGE);
    const [first, second] = [machine.cpuAt(0), machine.cpuAt(1)];
    first.boot();
    second.boot();
    second.write(ADDRESS, 5n);
    const root = first.root();
    leave(machine, 0);
    // The four pages of the identity table's shadow come from stage one; more must be cut out of live trees.
    expect(machine.locked(({ pool }) => pool.prealloc(ShadowType.monitor_table, 5))).toBe(true);
    expect([machine.count("prealloc_1"), machine.count("prealloc_2")]).toEqual([1, 1]);
    expect([first.root(), second.root()]).toEqual([root, root]);
    // Both run on the one root: the second vCPU's TLB is empty too, and the page is as it was.
    const hits = machine.countWhile("tlb_hits", () => expect(second.read(ADDRESS)).toBe(5n));
    expect(hits).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("that nothing can be found in, the domain crashes", () => {
    const machine = TestMachine.running({ levels });
    leave(machine, 0);
    expect(machine.locked(({ pool }) => pool.prealloc(ShadowType.monitor_table, 1000))).toBe(false);
    expect(machine.machine.domain.crashMessage()).toMatch("pool is exhausted");
    expect(machine.cpu.load(machine.direct(0)).status).toBe(3);
    expect(machine.locked(({ pool }) => pool.prealloc(ShadowType.l1_64, 1))).toBe(false);
  });

  test("a fault asks for as many pages as its shadows can need", () => {
    const machine = new TestMachine({ levels });
    machine.tables.map(ADDRESS, PAGE, USER_PAGE);
    machine.cpu.boot();
    const needed = levels === 3 ? 1 : levels === 2 ? 2 : 3;
    leave(machine, needed);
    expect(machine.countWhile("prealloc_1", () => machine.cpu.read(ADDRESS))).toBe(0);
    leave(machine, needed - 1);
    expect(machine.countWhile("prealloc_1", () => machine.cpu.load(machine.direct(0)))).toBe(1);
    expect(machine.finish()).toEqual([]);
  });
});

/** Allocates two pages, frees them in turn and allocates again. */
function reuse(setup: Setup): { before: Mfn[]; after: Mfn[] } {
  const machine = TestMachine.running(setup);
  return machine.locked(({ pool }) => {
    leave(machine, 2);
    const before = [pool.alloc(ShadowType.l1_64, 1, 1), pool.alloc(ShadowType.l1_64, 1, 2)];
    for (const page of before) pool.free(page);
    return { before, after: [pool.alloc(ShadowType.l1_64, 1, 3), pool.alloc(ShadowType.l1_64, 1, 4)] };
  });
}

describe("a page", () => {
  test("that was freed first is used again first", () => {
    const { before, after } = reuse({ levels: 4 });
    expect(after).toEqual(before);
  });

  test("that was freed last is used again first, if so configured", () => {
    const { before, after } = reuse({ levels: 4, reuse: "last-in-first-out" });
    expect(after).toEqual(before.toReversed());
  });

  test("keeps what is in it until it is used again, and is empty then", () => {
    const machine = TestMachine.running({ levels: 4 });
    machine.locked(({ pool, frames }) => {
      leave(machine, 1);
      const page = pool.alloc(ShadowType.l1_64, 1, 1);
      const generation = frames.generation(page);
      machine.machine.memory.storeWord(page << 10, 0x1234);
      pool.free(page);
      expect([machine.word(page, 0), frames.type(page)]).toEqual([0x1234, 0]);
      expect(pool.alloc(ShadowType.l1_64, 1, 1)).toBe(page);
      expect([machine.word(page, 0), frames.generation(page)]).toEqual([0, generation + 1]);
    });
  });

  test("that a vCPU would search for writers is forgotten by all of them when it is freed", () => {
    const machine = TestMachine.running({ levels: 4, vcpus: 2 });
    machine.locked(({ pool }) => {
      const page = pool.alloc(ShadowType.l1_64, 1, 1);
      for (const cpu of machine.cpus) cpu.vcpu.setRegister(VcpuCell.lastWritableShadow, page);
      pool.free(page);
    });
    expect(machine.cpus.map((cpu) => cpu.register(VcpuCell.lastWritableShadow))).toEqual([0, 0]);
  });

  test("of a shadow of several is linked to the next, and all carry the same backpointer", () => {
    const machine = TestMachine.running({ levels: 2 });
    machine.locked(({ frames }) => {
      const root = machine.cpu.root();
      const pages = [root];
      for (let page = frames.sibling(root); page !== 0; page = frames.sibling(page)) pages.push(page);
      expect(pages.map((page) => frames.back(page))).toEqual(Array<number>(4).fill(frames.back(root)));
      expect(pages.map((page) => frames.state(page) & 2)).toEqual([2, 0, 0, 0]);
    });
  });
});

/** Frees a page, lets some vCPUs flush, and says who is flushed when the page is used again. */
function whoIsFlushed(clock: number, between: (machine: TestMachine) => void): number[] {
  const machine = TestMachine.running({ levels: 4, vcpus: 3 });
  const { memory, layout } = machine.machine;
  memory.storeWord(layout.regions.domain.offset + DomainCell.tlbClock, clock);
  for (const cpu of machine.cpus) cpu.vcpu.mailbox.flushLocal();
  const stamps = (): number[] => machine.cpus.map((cpu) => cpu.register(VcpuCell.tlbStamp));
  return machine.locked(({ pool }) => {
    leave(machine, 1);
    pool.free(pool.alloc(ShadowType.l1_64, 1, 1));
    between(machine);
    const before = stamps();
    pool.alloc(ShadowType.l1_64, 1, 1);
    return stamps().flatMap((stamp, vcpu) => (stamp === before[vcpu] ? [] : [vcpu]));
  });
}

const nobody = (): void => undefined;

const second = (machine: TestMachine): void => machine.cpuAt(1).vcpu.mailbox.flushLocal();

describe("the flush for a freed page", () => {
  test.each([0, 1000, 2 ** 31 - 3, 2 ** 31 + 5, 2 ** 32 - 4, 2 ** 32 - 2])(
    "comes when it is used again, for those who have not flushed since (clock %i)",
    (clock) => {
      expect(whoIsFlushed(clock | 0, nobody)).toEqual([0, 1, 2]);
      expect(whoIsFlushed(clock | 0, second)).toEqual([0, 2]);
      expect(whoIsFlushed(clock | 0, (machine) => machine.shadow.flushAll())).toEqual([]);
    },
  );

  test("is counted once an allocation", () => {
    const machine = TestMachine.running({ levels: 4, vcpus: 2 });
    machine.locked(({ pool }) => {
      leave(machine, 1);
      const flushes = machine.countWhile("alloc_tlbflush", () => {
        pool.free(pool.alloc(ShadowType.l1_64, 1, 1));
        pool.alloc(ShadowType.l1_64, 1, 1);
      });
      expect(flushes).toBe(1);
    });
  });

  test("comes at once when it is not to be deferred", () => {
    const machine = TestMachine.running({ levels: 4, vcpus: 2, switches: { "deferred-flush": false } });
    machine.locked(({ pool }) => {
      const page = pool.alloc(ShadowType.l1_64, 1, 1);
      expect(machine.countWhile("flush_requests", () => pool.free(page))).toBe(1);
      expect(machine.countWhile("alloc_tlbflush", () => pool.alloc(ShadowType.l1_64, 1, 1))).toBe(0);
    });
  });

  test("reaches even a vCPU that has not flushed for half a round of the clock", () => {
    const machine = TestMachine.running({ levels: 4, vcpus: 2 });
    const { memory, layout } = machine.machine;
    const clock = layout.regions.domain.offset + DomainCell.tlbClock;
    const idle = machine.cpuAt(1);
    for (const time of [2 ** 30, 2 ** 31, 3 * 2 ** 30, 2 ** 32]) {
      memory.storeWord(clock, (time - 2) | 0);
      machine.cpu.vcpu.mailbox.flushLocal();
      machine.cpu.vcpu.mailbox.flushLocal();
      idle.vcpu.poll();
      const age = (memory.loadWord(clock) - idle.register(VcpuCell.tlbStamp)) | 0;
      expect(Math.abs(age)).toBeLessThan(3);
    }
  });
});

describe("the size of the pool", () => {
  const sizes = { vcpus: 2, ramPages: 256 };

  test("is never below the minimum", () => {
    const machine = TestMachine.running({ levels: 4, ...sizes });
    expect(machine.toolstack.setAllocation(1)).toBe(minimumPool(sizes));
    expect(machine.toolstack.allocation()).toBe(128 * 2 + 6 + 1);
    expect(machine.findings()).toEqual([]);
    expect(machine.finish()).toEqual([]);
  });

  test("grows and shrinks while the guest runs", () => {
    const machine = new TestMachine({ levels: 2, ...sizes, poolPages: 400 });
    for (let table = 0; table < 60; table++)
      machine.tables.map(ADDRESS + (BigInt(table) << 22n), PAGE, USER_PAGE);
    for (const cpu of machine.cpus) cpu.boot();
    const use = (): void => {
      for (let table = 0; table < 60; table++) machine.cpu.read(ADDRESS + (BigInt(table) << 22n));
    };
    use();
    expect(machine.toolstack.setAllocation(0)).toBe(minimumPool(sizes));
    use();
    expect(machine.toolstack.setAllocation(400)).toBe(400);
    use();
    expect(machine.toolstack.setAllocation(100_000)).toBe(400);
    expect(machine.finish()).toEqual([]);
  });

  test("is what it was once the domain dies", () => {
    const machine = TestMachine.running({ levels: 4, ...sizes, poolPages: 300 });
    machine.toolstack.beginDestroy();
    expect(machine.toolstack.setAllocation(0)).toBe(300);
    expect(machine.teardown()).toEqual([]);
    expect(machine.toolstack.setAllocation(300)).toBe(0);
  });
});

test.each(FORMATS)(
  "a guest whose pool holds hardly more than one walk gets on all the same (%i levels)",
  (levels) => {
    const { machine, trees } = withTrees({ levels, vcpus: 2 }, 4);
    leave(machine, 0);
    machine.locked(({ pool }) => pool.setAllocation({ 2: 34, 3: 22, 4: 14 }[levels]));
    for (let round = 0; round < 4; round++)
      for (const [index, tree] of trees.entries())
        for (const cpu of machine.cpus) {
          cpu.cr3(tree.cr3);
          cpu.write(ADDRESS, BigInt(round * 10 + index), entryBytes(levels));
          expect(machine.cpu.read(machine.direct(PAGE * 4096))).toBe(BigInt(round * 10 + index));
          cpu.writeEntry(tree.entryAt(ADDRESS + 0x1000n, 1), entryOf(PAGE + round, USER_PAGE));
          cpu.invlpg(ADDRESS + 0x1000n);
          cpu.read(ADDRESS + 0x1000n);
        }
    expect(machine.count("prealloc_1")).toBeGreaterThan(0);
    expect(machine.finish()).toEqual([]);
  },
);

test("an access that needs two faults ends though another tree holds all the pages", () => {
  const machine = new TestMachine({ levels: 3, vcpus: 2, switches: { prefetch: false, pinning: false } });
  const [one, other] = [machine.cpuAt(0), machine.cpuAt(1)];
  machine.tables.map(ADDRESS, PAGE, USER_PAGE);
  machine.tables.map(ADDRESS + 0x1000n, PAGE + 1, USER_PAGE);
  for (const slot of [1n, 3n]) machine.tables.map((slot << 30n) + ADDRESS, PAGE, USER_PAGE);
  // The second vCPU keeps paging off, and fills the pool with the pieces of large pages.
  one.boot();
  leave(machine, 3);
  for (let region = 0n; machine.count("prealloc_2") === 0; region++) other.load(region << 22n);
  for (let time = 0; time < 8; time++) {
    one.write(ADDRESS + 0xffen, BigInt(time));
    other.load(BigInt(time) << 22n);
  }
  expect(one.read(ADDRESS + 0xffen)).toBe(7n);
  expect(machine.finish()).toEqual([]);
});
