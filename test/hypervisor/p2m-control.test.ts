/** What the toolstack asks of types that cannot be, and what a vCPU does that waits, or gets no frame (spec 12.5, 13). */
import { afterEach, describe, expect, test } from "vitest";
import { P2mType } from "../../src/hypervisor/p2m-type.ts";
import { registerValue } from "../../src/hypervisor/device.ts";
import { Status } from "../../src/machine/exits.ts";
import { Register } from "../../src/machine/x86/registers.ts";
import { DomctlAnswer } from "../../src/memory/domain-area.ts";
import { FrameUse } from "../../src/memory/frame-table.ts";
import { NO_MFN } from "../../src/memory/units.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { CodeMachine, PAGE as CODE_PAGE, TABLE, WINDOW } from "./code-machine.ts";
import { FORMATS, USER_PAGE } from "./guest-tables.ts";
import { Backing, giveType } from "./page-types.ts";
import { TestMachine, whileWaiting } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
const NOT_RAM = [P2mType.mmioDm, P2mType.mmioDirect, P2mType.populateOnDemand, P2mType.paged] as const;
const MODES = ["shadow", "hap"] as const;

afterEach(() => {
  whileWaiting(null);
});

function machineWithPage(paging: "shadow" | "hap" = "shadow", levels: 2 | 3 | 4 = 4): TestMachine {
  const machine = new TestMachine({ levels, vcpus: 2, paging, poolPages: 600 });
  machine.tables.map(ADDRESS, PAGE, USER_PAGE);
  for (const cpu of machine.cpus) cpu.boot();
  machine.cpu.write(ADDRESS, 0x11n);
  machine.cpuAt(1).read(ADDRESS);
  return machine;
}

/** Every frame that the machine has left. */
function takeAllFrames({ toolstack }: TestMachine): Mfn[] {
  const taken: Mfn[] = [];
  for (;;) {
    const frame = toolstack.base.heap.allocate(FrameUse.guest);
    if (frame === NO_MFN) return taken;
    taken.push(frame);
  }
}

function giveBack({ toolstack }: TestMachine, frames: readonly Mfn[]): void {
  for (const frame of frames) toolstack.base.heap.free(frame);
}

describe("a call that makes no sense for the page is refused, and changes nothing", () => {
  test.each(NOT_RAM)("of memory's calls, on type %i", (type) => {
    const machine = machineWithPage();
    const { types } = machine.toolstack;
    giveType(machine.toolstack, PAGE, type);
    expect(types.setType(PAGE, P2mType.ramRo)).toBe(false);
    expect(types.nominate(PAGE)).toBe(false);
    expect(types.evict(PAGE)).toBe(false);
    expect(machine.toolstack.movePage(PAGE)).toBe(false);
    expect(types.typeOf(PAGE)).toBe(type);
    expect(machine.finish()).toEqual([]);
  });

  test("of those that are for pages that are away, or not there, on memory", () => {
    const machine = machineWithPage();
    const { types } = machine.toolstack;
    const contents = { words: new Int32Array(1024), at: 0, count: 1024 };
    expect([types.evict(PAGE), types.load(PAGE, contents), types.mapDevice(PAGE)]).toEqual([
      false,
      false,
      false,
    ]);
    expect(types.setType(PAGE, P2mType.paged)).toBe(false);
    types.setType(PAGE, P2mType.ramRo);
    expect(types.nominate(PAGE)).toBe(false);
    expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
    expect(machine.finish()).toEqual([]);
  });

  test.each([-1, 256, 0x5000])("of any, outside of the guest's memory (gfn %i)", (gfn) => {
    const machine = machineWithPage();
    const { types } = machine.toolstack;
    expect([
      types.setType(gfn, P2mType.ramRo),
      types.populateOnDemand(gfn),
      types.mapDevice(gfn),
      types.nominate(gfn),
      types.load(gfn, { words: new Int32Array(0), at: 0, count: 0 }),
    ]).toEqual([false, false, false, false, false]);
    machine.toolstack.removePage(gfn);
    expect(machine.count("p2m_writes")).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each(MODES)("in %s mode", (paging) => {
  test("a page that is wanted once it was nominated is not evicted, and keeps its frame", () => {
    const machine = machineWithPage(paging);
    const { types } = machine.toolstack;
    const frame = machine.machine.p2m.ownFrameOf(PAGE);
    expect(types.nominate(PAGE)).toBe(true);
    let evicted = true;
    whileWaiting(() => {
      expect(types.request()).toBe(PAGE);
      evicted = types.evict(PAGE);
      types.load(PAGE, { words: new Int32Array(1), at: 0, count: 1 });
    });
    expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
    expect([evicted, types.request(), machine.frame(PAGE)]).toEqual([false, -1, frame]);
    expect(machine.finish()).toEqual([]);
  });

  test("who waits for a page that is taken away for good finds what is there then", () => {
    const machine = machineWithPage(paging);
    giveType(machine.toolstack, PAGE, P2mType.paged);
    whileWaiting(() => {
      machine.toolstack.removePage(PAGE);
    });
    expect(machine.cpu.read(ADDRESS)).toBe(BigInt(registerValue(PAGE, 0) >>> 0));
    expect(machine.finish()).toEqual([]);
  });

  test("who waits when the domain ends is let go, and ends", () => {
    const machine = machineWithPage(paging);
    giveType(machine.toolstack, PAGE, P2mType.paged);
    whileWaiting(() => {
      machine.toolstack.beginDestroy();
    });
    expect(machine.cpu.load(ADDRESS).status).toBe(Status.stopped);
    expect(machine.cpu.vcpu.register(VcpuCell.wantedPage)).toBe(0);
    expect(machine.teardown()).toEqual([]);
  });

  test("while a vCPU waits the other one's flushes are not held up", () => {
    const machine = machineWithPage(paging);
    const backing = new Backing(machine.toolstack);
    expect(backing.pageOut(PAGE)).toBe(true);
    let flushed = 0;
    whileWaiting(() => {
      flushed = machine.cpuAt(1).vcpu.mailbox.flushWhere(0, false);
      backing.serve();
    });
    expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
    // The one that waits has acknowledged by standing still.
    expect(flushed).toBe(1);
    expect(machine.count("page_requests")).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("with no frame left for a page the guest gets a page fault, and the page when there is one", () => {
    const machine = machineWithPage(paging);
    expect(machine.toolstack.types.populateOnDemand(PAGE)).toBe(true);
    const taken = takeAllFrames(machine);
    const bad = machine.countWhile("fault_bail_bad_gfn", () => {
      expect(machine.cpu.load(ADDRESS)).toMatchObject({
        status: Status.pageFault,
        errorCode: 1,
        cr2: ADDRESS,
      });
      expect(machine.cpu.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
    });
    expect(bad).toBe(2);
    giveBack(machine, taken);
    expect(machine.cpu.read(ADDRESS)).toBe(0n);
    expect(machine.count("populated_on_demand")).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("with no frame left a pager cannot load, and tries again", () => {
    const machine = machineWithPage(paging);
    const backing = new Backing(machine.toolstack);
    backing.pageOut(PAGE);
    const taken = takeAllFrames(machine);
    let tries = 0;
    whileWaiting(() => {
      tries++;
      if (tries === 3) giveBack(machine, taken);
      expect(backing.serve()).toBe(tries >= 3);
    });
    expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
    expect([tries, machine.count("paged_in")]).toEqual([3, 1]);
    expect(machine.finish()).toEqual([]);
  });

  test("devices write to memory that takes writes, and to no other", () => {
    const machine = machineWithPage(paging);
    machine.toolstack.types.setType(PAGE, P2mType.ramRo);
    machine.toolstack.deviceWrite(PAGE * 4096, 0x22);
    expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
    machine.toolstack.types.setType(PAGE, P2mType.ramLogdirty);
    machine.toolstack.deviceWrite(PAGE * 4096, 0x33);
    expect(machine.cpu.read(ADDRESS)).toBe(0x33n);
    expect(machine.finish()).toEqual([]);
  });

  test("a page that is moved keeps its type", () => {
    const machine = machineWithPage(paging);
    machine.toolstack.types.setType(PAGE, P2mType.ramRo);
    expect(machine.toolstack.movePage(PAGE)).toBe(true);
    machine.cpu.write(ADDRESS, 0x22n);
    expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
    expect(machine.toolstack.types.typeOf(PAGE)).toBe(P2mType.ramRo);
    expect(machine.finish()).toEqual([]);
  });

  test("what is logged is what lands: not what is discarded, nor what a device of its own gets", () => {
    const machine = machineWithPage(paging);
    const { types, dirty } = machine.toolstack;
    types.setType(PAGE, P2mType.ramRo);
    const isMarked = (): boolean => {
      const bits = new Int32Array(8);
      dirty.peek(bits);
      return (((bits[PAGE >>> 5] ?? 0) >>> (PAGE & 31)) & 1) !== 0;
    };
    expect(dirty.enable()).toBe(DomctlAnswer.done);
    machine.cpu.write(ADDRESS, 0x22n);
    expect(isMarked()).toBe(false);
    types.setType(PAGE, P2mType.ramLogdirty);
    machine.cpu.write(ADDRESS, 0x33n);
    expect(isMarked()).toBe(true);
    giveType(machine.toolstack, PAGE, P2mType.mmioDirect);
    dirty.clean(new Int32Array(8));
    machine.cpu.write(ADDRESS, 0x44n);
    expect([isMarked(), machine.cpu.read(ADDRESS)]).toEqual([false, 0x44n]);
    machine.toolstack.removePage(PAGE);
    types.populateOnDemand(PAGE);
    dirty.clean(new Int32Array(8));
    machine.cpu.read(ADDRESS);
    expect(isMarked()).toBe(true);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each(FORMATS)("MOV CR3, with %i levels", (levels) => {
  test("to a root that is to be populated allocates it; to one that the pager has it ends the domain", () => {
    const machine = machineWithPage("shadow", levels);
    const [empty, away] = [machine.newTables(), machine.newTables()];
    machine.toolstack.types.populateOnDemand(empty.root);
    expect(machine.cpu.cr3(empty.cr3)).toBe(Status.done);
    expect(machine.toolstack.types.typeOf(empty.root)).toBe(P2mType.ramRw);
    expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
    giveType(machine.toolstack, away.root, P2mType.paged);
    expect(machine.cpu.cr3(away.cr3)).toBe(Status.stopped);
    expect(machine.machine.domain.crashMessage()).toMatch(/the root that CR3 names is not memory/);
    expect(machine.teardown()).toEqual([]);
  });

  test("to a read-only root works, and what the guest writes to it is discarded", () => {
    const machine = machineWithPage("shadow", levels);
    const other = machine.newTables();
    other.map(ADDRESS, PAGE, USER_PAGE);
    machine.toolstack.types.setType(other.root, P2mType.ramRo);
    expect(machine.cpu.cr3(other.cr3)).toBe(Status.done);
    machine.cpu.writeEntry(other.root * 4096, 0n);
    expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
    expect(machine.count("discarded_writes")).toBe(1);
    expect(machine.finish()).toEqual([]);
  });
});

test("a PAE root that is away is brought back where hardware loads it", () => {
  const machine = machineWithPage("hap", 3);
  const other = machine.newTables();
  other.map(ADDRESS, PAGE, USER_PAGE);
  const backing = new Backing(machine.toolstack);
  expect(backing.pageOut(other.root)).toBe(true);
  whileWaiting(() => backing.serve());
  expect(machine.cpu.cr3(other.cr3)).toBe(Status.done);
  expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
  expect(machine.finish()).toEqual([]);
});

test("a level 2 table of PAE that is away when CR3 is loaded costs the guest one fault", () => {
  const machine = machineWithPage("shadow", 3);
  const other = machine.newTables();
  other.map(ADDRESS, PAGE, USER_PAGE);
  const backing = new Backing(machine.toolstack);
  expect(backing.pageOut(other.tableAt(ADDRESS, 2))).toBe(true);
  whileWaiting(() => backing.serve());
  expect(machine.cpu.cr3(other.cr3)).toBe(Status.done);
  // Specification 9.3: a root that the snapshot lacked is taken up by a fault that the guest sees.
  expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0 });
  expect(machine.cpu.read(ADDRESS)).toBe(0x11n);
  expect(machine.finish()).toEqual([]);
});

describe("machine code", () => {
  const { rdi, rax } = Register;

  test.each([
    { name: "mov [rdi], eax", bytes: [0x89, 0x07], due: 0n },
    {
      name: "lock xadd [rdi], eax, which the emulator does not know",
      bytes: [0xf0, 0x0f, 0xc1, 0x07],
      due: 0n,
    },
    { name: "lock or [rdi], eax", bytes: [0xf0, 0x09, 0x07], due: 0n },
  ])("that writes to read-only memory goes on behind it: $name", ({ bytes, due }) => {
    const machine = new CodeMachine(4);
    machine.toolstack.types.setType(CODE_PAGE + 4, P2mType.ramRo);
    expect(machine.run(bytes, { [rdi]: WINDOW + 0x1000n, [rax]: 5n })).toBe(Status.done);
    expect(machine.cpu.read(WINDOW + 0x1000n)).toBe(due);
    expect(machine.count("discarded_writes")).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("that writes to a read-only table is emulated, and changes nothing", () => {
    const machine = new CodeMachine(4);
    const before = machine.cpu.read(WINDOW, 8);
    machine.toolstack.types.setType(TABLE, P2mType.ramRo);
    expect(machine.run([0x48, 0x89, 0x07], { [rdi]: WINDOW, [rax]: 0n })).toBe(Status.done);
    expect(machine.cpu.read(WINDOW, 8)).toBe(before);
    expect(machine.count("discarded_writes")).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("whose code is away is executed once it is back", () => {
    const machine = new CodeMachine(4);
    const backing = new Backing(machine.toolstack);
    machine.load([0x89, 0x07]);
    machine.aim(0, { [rdi]: WINDOW + 0x1000n, [rax]: 5n });
    expect(backing.pageOut(0x98)).toBe(true);
    whileWaiting(() => backing.serve());
    expect(machine.processor.executeNext()).toBe(Status.done);
    expect(machine.cpu.read(WINDOW + 0x1000n)).toBe(5n);
    expect(machine.finish()).toEqual([]);
  });
});
