/** Which pages of a frame buffer are told to have changed, row by row of spec 11.8, and what every call answers. */
import { describe, expect, test } from "vitest";
import { VramTracking } from "../../src/hypervisor/shadow/vram-tracking.ts";
import { DomainCell, DomctlAnswer } from "../../src/memory/domain-area.ts";
import { FORMATS, KERNEL_PAGE, USER_PAGE, entryOf } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";
import type { Setup } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
/** The same pages once more. */
const AGAIN = ADDRESS + 0x10_0000n;
const PAGE = 0x80;
const PAGES = 8;
const IDLE_MS = 2000;
const MACHINES = (["shadow", "hap"] as const).flatMap((paging) =>
  FORMATS.map((levels) => ({ paging, levels })),
);

/** A guest with a frame buffer that is mapped twice, and a display that has begun to watch it. */
class Screen {
  readonly machine: TestMachine;
  /** The display's time. */
  now = 0;

  constructor(setup: Partial<Setup> = {}) {
    this.machine = new TestMachine({ levels: 4, vcpus: 2, poolPages: 300, ...setup });
    const { tables, cpus } = this.machine;
    for (let page = 0; page < PAGES; page++) {
      tables.map(at(page), PAGE + page, USER_PAGE);
      tables.map(again(page), PAGE + page, USER_PAGE);
    }
    for (const cpu of cpus) cpu.boot();
    for (let page = 0; page < PAGES; page++) cpus[0]?.write(at(page), 1n);
    insist(this.track() === DomctlAnswer.noData, "tracking does not begin");
  }

  /** One call of the domctl. */
  track(first = PAGE, pages = PAGES, bitmap = new Int32Array(Math.ceil(pages / 32))): number {
    return this.machine.toolstack.vram.track(first, pages, bitmap, this.now);
  }

  /** Pages of the frame buffer, from 0 on, that a look tells to have changed. */
  look(): number[] {
    const bitmap = new Int32Array(1).fill(-1);
    insist(this.track(PAGE, PAGES, bitmap) === DomctlAnswer.done, "a look is refused");
    const told = Array.from({ length: 32 }, (_, page) => page).filter(
      (page) => (((bitmap[0] ?? 0) >>> page) & 1) !== 0,
    );
    insist(this.machine.toolstack.vram.dirtyPages === told.length, "the count is wrong");
    insist(this.machine.findings().length === 0, this.machine.findings().join("; "));
    return told;
  }

  /** Takes the mapping of an address away, or gives it another entry, and does not flush. */
  setEntry(address: bigint, entry = 0n): void {
    this.machine.cpu.writeEntry(this.machine.tables.entryAt(address, 1), entry);
  }

  get isIdle(): boolean {
    return this.machine.machine.domain.read(DomainCell.vramIdle) !== 0;
  }
}

function insist(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

/** Writable mappings of a page. */
function typecount({ machine }: Screen, page: number): number {
  return machine.shadow.frames.typecount(machine.frame(PAGE + page));
}

/** Where the one is that is known. */
function place({ machine }: Screen, page: number): number {
  return machine.shadow.logDirty.vram.mappingOf(page);
}

function at(page: number): bigint {
  return ADDRESS + BigInt(page * 4096);
}

function again(page: number): bigint {
  return AGAIN + BigInt(page * 4096);
}

describe.each(MACHINES)("$paging, $levels levels", (setup) => {
  test("a look tells what was written since the last, by whichever vCPU, and nothing else", () => {
    const screen = new Screen(setup);
    const [first, second] = screen.machine.cpus;
    expect(screen.look()).toEqual([]);
    for (let page = 0; page < PAGES; page++) first?.read(at(page));
    expect(screen.look()).toEqual([]);
    first?.write(at(1), 2n);
    second?.write(at(4), 2n);
    expect(screen.look()).toEqual([1, 4]);
    expect(screen.look()).toEqual([]);
    first?.write(at(1), 3n);
    first?.write(at(1), 4n);
    second?.exchange(at(5), 1n, 2n);
    expect(screen.look()).toEqual([1, 5]);
    expect(screen.machine.finish()).toEqual([]);
  });

  test("stores that are not the guest's own are told: a device's, the toolstack's, A and D in a table", () => {
    const screen = new Screen(setup);
    const { machine } = screen;
    machine.toolstack.deviceWrite((PAGE + 2) * 4096, 7);
    expect(screen.look()).toEqual([2]);
    machine.cpu.write(at(3), 5n);
    machine.toolstack.movePage(PAGE + 3);
    expect(screen.look()).toEqual([3]);
    machine.toolstack.removePage(PAGE + 6);
    expect(screen.look()).toEqual([6]);
    machine.toolstack.addPage(PAGE + 6);
    expect(screen.look()).toEqual([6]);
    expect(machine.finish()).toEqual([]);
  });

  test("a frame buffer that holds a pagetable: stores to it are told, and bits that a walk sets in it", () => {
    const screen = new Screen(setup);
    const { machine } = screen;
    const entry = machine.tables.entryAt(at(0), 1);
    const table = Math.floor(entry / 4096);
    const bits = new Int32Array(1);
    const told = (): boolean => {
      expect(screen.track(table, 1, bits)).toBe(DomctlAnswer.done);
      return bits[0] === 1;
    };
    expect(screen.track(table, 1, bits)).toBe(DomctlAnswer.noData);
    machine.cpu.read(at(1));
    expect(told()).toBe(false);
    machine.cpu.writeEntry(entry, entryOf(PAGE, KERNEL_PAGE & ~0x60n));
    expect(told()).toBe(true);
    machine.cpu.invlpg(at(0));
    machine.cpu.read(at(0));
    expect([told(), told()]).toEqual([true, false]);
    machine.cpu.write(at(0), 1n);
    expect([told(), told()]).toEqual([true, false]);
    expect(machine.finish()).toEqual([]);
  });

  test("beside the log of dirty pages, each tells what is its own to tell", () => {
    const screen = new Screen(setup);
    const { toolstack, cpu } = screen.machine;
    expect(toolstack.dirty.enable()).toBe(DomctlAnswer.done);
    const bitmap = new Int32Array(8);
    cpu.write(at(1), 9n);
    expect(screen.look()).toEqual([1]);
    cpu.write(at(1), 10n);
    expect(toolstack.dirty.clean(bitmap)).toBe(DomctlAnswer.done);
    expect([bitmap[PAGE / 32], screen.look()]).toEqual([2, [1]]);
    cpu.write(at(1), 11n);
    expect(toolstack.dirty.cleanRunning(bitmap)).toBe(DomctlAnswer.done);
    expect([bitmap[PAGE / 32], screen.look(), screen.look()]).toEqual([2, [1], []]);
    expect(toolstack.dirty.disable()).toBe(DomctlAnswer.done);
    expect(screen.machine.finish()).toEqual([]);
  });

  test("another range begins anew, and none ends it", () => {
    const screen = new Screen(setup);
    const { cpu } = screen.machine;
    cpu.write(at(1), 2n);
    expect(screen.track(PAGE + 1, 2)).toBe(DomctlAnswer.noData);
    const bits = new Int32Array(1);
    cpu.write(at(2), 2n);
    cpu.write(at(3), 2n);
    expect([screen.track(PAGE + 1, 2, bits), bits[0]]).toEqual([DomctlAnswer.done, 2]);
    expect(screen.track(0, 0)).toBe(DomctlAnswer.done);
    expect(screen.machine.machine.domain.read(DomainCell.vramPages)).toBe(0);
    expect(screen.track(0, 0)).toBe(DomctlAnswer.done);
    cpu.write(at(1), 3n);
    expect(screen.track()).toBe(DomctlAnswer.noData);
    expect(screen.look()).toEqual([]);
    expect(screen.machine.finish()).toEqual([]);
  });

  test("a domain that is taken apart while it is watched leaves nothing", () => {
    const screen = new Screen(setup);
    screen.machine.cpu.write(at(1), 2n);
    expect(screen.machine.finish()).toEqual([]);
  });
});

describe.each(FORMATS)("shadows of %i levels, by the number of a page's writable mappings", (levels) => {
  test("none: it has not changed, unless it did before the last one went", () => {
    const screen = new Screen({ levels });
    screen.machine.cpu.write(at(1), 2n);
    expect([typecount(screen, 0), place(screen, 0)]).toEqual([0, 0]);
    screen.setEntry(at(1));
    expect([typecount(screen, 1), screen.look(), screen.look()]).toEqual([0, [1], []]);
    expect(screen.machine.finish()).toEqual([]);
  });

  test("one, known: its D says so, is cleared, and TLBs look again", () => {
    const screen = new Screen({ levels });
    const { machine } = screen;
    machine.cpu.write(at(1), 2n);
    const cell = place(screen, 1);
    expect([typecount(screen, 1), machine.machine.memory.loadEntry(cell) & 0x40]).toEqual([1, 0x40]);
    const flushes = machine.countWhile("flush_requests", () => expect(screen.look()).toEqual([1]));
    expect([flushes > 0, place(screen, 1), machine.machine.memory.loadEntry(cell) & 0x42]).toEqual([
      true,
      cell,
      2,
    ]);
    // The next store takes no fault.
    expect(machine.countWhile("fault", () => machine.cpu.write(at(1), 3n))).toBe(0);
    expect(screen.look()).toEqual([1]);
    expect(machine.countWhile("flush_requests", () => screen.look())).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("one, known, that goes: its D is not forgotten", () => {
    const screen = new Screen({ levels });
    const { cpu } = screen.machine;
    for (const page of [1, 2]) cpu.write(at(page), 2n);
    expect(screen.look()).toEqual([1, 2]);
    cpu.write(at(1), 3n);
    screen.setEntry(at(1));
    screen.setEntry(at(2));
    expect([place(screen, 1), place(screen, 2), screen.look()]).toEqual([0, 0, [1]]);
    expect(screen.machine.finish()).toEqual([]);
  });

  test("one, unknown: it counts as changed, once, and all its mappings go", () => {
    const screen = new Screen({ levels, switches: { prefetch: false } });
    const { machine } = screen;
    machine.cpu.write(at(1), 2n);
    machine.cpu.write(again(1), 3n);
    const cell = place(screen, 1);
    expect([typecount(screen, 1), cell !== 0]).toEqual([2, true]);
    // The one that is known goes first.
    screen.setEntry(at(1));
    expect([typecount(screen, 1), place(screen, 1)]).toEqual([1, 0]);
    expect(machine.countWhile("vram_unknown", () => expect(screen.look()).toEqual([1]))).toBe(1);
    expect([typecount(screen, 1), screen.look()]).toEqual([0, []]);
    machine.cpu.write(again(1), 4n);
    expect([place(screen, 1) !== 0, screen.look(), screen.look()]).toEqual([true, [1], []]);
    expect(machine.finish()).toEqual([]);
  });

  test("two: it counts as changed at every look, and the known one stays so when the other goes", () => {
    const screen = new Screen({ levels, switches: { prefetch: false } });
    const { machine } = screen;
    machine.cpu.write(at(1), 2n);
    machine.cpu.write(again(1), 3n);
    const cell = place(screen, 1);
    expect([screen.look(), screen.look()]).toEqual([[1], [1]]);
    screen.setEntry(again(1));
    expect([typecount(screen, 1), place(screen, 1)]).toEqual([1, cell]);
    // Told for the one that went, then for the D of the one that stays.
    expect([screen.look(), screen.look()]).toEqual([[1], []]);
    expect(machine.finish()).toEqual([]);
  });

  test("a mapping that goes without a flush: what is stored through a TLB before the look is told, and nothing can be after", () => {
    const screen = new Screen({ levels });
    const { machine } = screen;
    const second = machine.cpuAt(1);
    machine.cpu.write(at(1), 2n);
    second.write(at(1), 3n);
    expect(screen.look()).toEqual([1]);
    second.write(at(1), 4n);
    screen.setEntry(at(1));
    // By its TLB, as the guest has yet to flush.
    second.write(at(1), 5n);
    expect(screen.look()).toEqual([1]);
    expect(second.store(at(1), 6n).status).not.toBe(0);
    expect(machine.ram.readWord((PAGE + 1) * 4096)).toBe(5);
    expect(machine.finish()).toEqual([]);
  });

  test("D that hardware sets just before a leaf is replaced goes with it", () => {
    const screen = new Screen({ levels });
    const { machine } = screen;
    machine.cpu.write(at(1), 2n);
    expect(screen.look()).toEqual([1]);
    const cell = place(screen, 1);
    const { memory } = machine.machine;
    const low = memory.loadEntry(cell);
    memory.storeEntry(cell, low | 0x40, memory.high);
    machine.locked(({ vram }) => vram.replaceLeaf(cell, low & ~2, memory.high));
    expect(machine.shadow.logDirty.vram.isDirty(1)).toBe(true);
  });
});

describe("a frame buffer that is still", () => {
  test("loses write access after more than two seconds, and is not scanned until somebody writes", () => {
    const screen = new Screen();
    const { machine } = screen;
    // To begin with nothing is mapped, so nothing is scanned.
    expect(machine.countWhile("vram_scans", () => screen.look())).toBe(0);
    machine.cpu.write(at(1), 2n);
    screen.now = 100;
    expect([screen.isIdle, screen.look()]).toEqual([false, [1]]);
    screen.now = 100 + IDLE_MS;
    expect([screen.look(), screen.isIdle]).toEqual([[], false]);
    screen.now++;
    expect(machine.countWhile("vram_protected", () => screen.look())).toBe(1);
    expect([screen.isIdle, machine.shadow.frames.typecount(machine.frame(PAGE + 1))]).toEqual([true, 0]);
    expect(machine.countWhile("vram_scans", () => screen.look())).toBe(0);
    machine.cpu.read(at(2));
    expect(screen.isIdle).toBe(true);
    expect(machine.countWhile("fault", () => machine.cpu.write(at(1), 3n))).toBe(1);
    screen.now += 10 * IDLE_MS;
    expect([screen.isIdle, screen.look(), screen.isIdle]).toEqual([false, [1], false]);
    expect(machine.finish()).toEqual([]);
  });

  test("time that runs over the end of a word is time all the same", () => {
    const screen = new Screen();
    screen.now = 2 ** 31 - 100;
    screen.machine.cpu.write(at(1), 2n);
    expect(screen.look()).toEqual([1]);
    screen.now += IDLE_MS;
    expect([screen.look(), screen.isIdle]).toEqual([[], false]);
    screen.now += 1;
    expect([screen.look(), screen.isIdle]).toEqual([[], true]);
  });

  test("what is written just before write access goes is told by the same look", () => {
    const screen = new Screen();
    const { machine } = screen;
    machine.cpu.write(at(1), 2n);
    expect(screen.look()).toEqual([1]);
    screen.now = IDLE_MS + 1;
    const { vram, revocation } = machine.toolstack.shadow;
    expect(vram).toBeInstanceOf(VramTracking);
    const revoke = revocation.revokeWriteAccess.bind(revocation);
    let isDrawn = false;
    revocation.revokeWriteAccess = (...parameters) => {
      // Between the scan and this.
      if (!isDrawn) machine.cpu.write(at(1), 3n);
      isDrawn = true;
      return revoke(...parameters);
    };
    expect([screen.look(), screen.isIdle, screen.look()]).toEqual([[1], true, []]);
    expect(machine.finish()).toEqual([]);
  });
});

describe("what cannot be done is refused, and changes nothing", () => {
  test.each([
    [-1, 1],
    [0, 257],
    [256, 1],
    [PAGE, -1],
    [0.5, 1],
    [0, Number.NaN],
  ])("a range from %d of %d pages, where the guest has 256", (first, pages) => {
    const screen = new Screen();
    screen.machine.cpu.write(at(1), 2n);
    const words = Math.max(0, Math.ceil(pages / 32)) || 0;
    expect(screen.track(first, pages, new Int32Array(words))).toBe(DomctlAnswer.badRange);
    expect(screen.look()).toEqual([1]);
  });

  test.each([0, 2])("a bitmap of %i words for 8 pages", (words) => {
    const screen = new Screen();
    screen.machine.cpu.write(at(1), 2n);
    const bitmap = new Int32Array(words).fill(-1);
    expect(screen.track(PAGE, PAGES, bitmap)).toBe(DomctlAnswer.badBitmap);
    expect(bitmap.every((word) => word === -1)).toBe(true);
    expect(screen.look()).toEqual([1]);
  });

  test("anything on a dying domain, and on one that is taken apart", () => {
    const screen = new Screen();
    screen.machine.toolstack.beginDestroy();
    const all = (): number[] => [screen.track(), screen.track(PAGE, 1), screen.track(0, 0)];
    expect(all()).toEqual(all().map(() => DomctlAnswer.dying));
    expect(screen.machine.teardown()).toEqual([]);
    expect(all()).toEqual(all().map(() => DomctlAnswer.dying));
  });

  test("a domain to itself, until its vCPU has ended", () => {
    const { machine } = new Screen();
    const own = machine.machine.controlBy(machine.cpu.hosted).vram;
    const bitmap = new Int32Array(1);
    expect(own.track(PAGE, PAGES, bitmap, 0)).toBe(DomctlAnswer.onItself);
    machine.cpu.vcpu.stop();
    expect(own.track(PAGE, PAGES, bitmap, 0)).toBe(DomctlAnswer.done);
    expect(machine.finish()).toEqual([]);
  });

  test("a look while another domctl is unfinished", () => {
    const screen = new Screen({ ramPages: 2048 });
    const { dirty } = screen.machine.toolstack;
    expect(dirty.enable()).toBe(DomctlAnswer.done);
    const bits = new Int32Array(2048 / 32);
    expect(dirty.clean(bits)).toBe(DomctlAnswer.again);
    expect(screen.track()).toBe(DomctlAnswer.busy);
    expect(dirty.clean(bits)).toBe(DomctlAnswer.done);
    screen.machine.cpu.write(at(1), 2n);
    expect(screen.look()).toEqual([1]);
    expect(screen.machine.finish()).toEqual([]);
  });
});
