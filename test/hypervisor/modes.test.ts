/** CR0, CR3, CR4 and EFER: what is #GP, what changes the mode, and what follows (spec 9, 10). */
import { describe, expect, test } from "vitest";
import { rootTypeOf, shadowTypeName, ShadowType } from "../../src/hypervisor/shadow/shadow-type.ts";
import { Cr0, Cr4, Efer } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, GuestTables, KERNEL_PAGE, USER_PAGE, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";
import type { TestCpu } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;

describe("after reset a vCPU", () => {
  test("runs with paging off: addresses are physical, in 2-on-3 on the identity table", () => {
    const machine = new TestMachine({ levels: 2 });
    const { cpu, shadow } = machine;
    cpu.write(0x80_000n, 7n);
    expect(machine.ram.readWord(0x80_000)).toBe(7);
    expect(cpu.read(0x80_000n)).toBe(7n);
    expect(cpu.register(VcpuCell.guestTable)).toBe(shadow.domain.read(DomainCell.unpagedTable));
    expect(shadow.frames.type(cpu.root())).toBe(ShadowType.l2_32);
    expect(machine.finish()).toEqual([]);
  });

  test("heeds neither SMEP nor SMAP, whatever CR4 says, and has devices beyond memory", () => {
    const machine = new TestMachine({ levels: 2 });
    const { cpu } = machine;
    cpu.cr4(Cr4.smep | Cr4.smap | Cr4.pse);
    cpu.write(0x80_000n, 7n);
    expect(cpu.fetch(0x80_000n).status).toBe(Status.done);
    expect(cpu.load(0xfee0_0000n).status).toBe(Status.done);
    expect(machine.count("mmio")).toBe(1);
    expect(machine.finish()).toEqual([]);
  });

  test("wraps around at 4 GiB", () => {
    const machine = new TestMachine({ levels: 2 });
    const { cpu } = machine;
    cpu.write(0n, 0x1234n);
    machine.tables.map(0xffff_f000n, PAGE, KERNEL_PAGE);
    machine.tables.map(0n, PAGE + 1, KERNEL_PAGE);
    cpu.boot();
    cpu.write(0xffff_fffen, 0x1122_3344n);
    expect(cpu.read(0n, 2)).toBe(0x1122n);
    cpu.writeEntry(machine.tables.entryAt(0n, 1), entryOf(PAGE + 2, KERNEL_PAGE));
    cpu.invlpg(0n);
    expect(cpu.read(0xffff_fffen)).toBe(0x3344n);
    expect(machine.finish()).toEqual([]);
  });
});

/** Writes to registers, tried on a vCPU that runs in the format given; 0 for paging off. */
const REFUSED: readonly {
  readonly what: string;
  readonly levels: GuestLevels | 0;
  readonly write: (cpu: TestCpu) => number;
}[] = [
  { what: "paging without protection", levels: 0, write: (cpu) => cpu.cr0(Cr0.pg) },
  {
    what: "long mode without PAE",
    levels: 0,
    write: (cpu) => {
      cpu.efer(Efer.lme);
      return cpu.cr0(Cr0.pg | Cr0.pe);
    },
  },
  { what: "leaving PAE in long mode", levels: 4, write: (cpu) => cpu.cr4(Cr4.pge) },
  { what: "leaving long mode with paging on", levels: 4, write: (cpu) => cpu.efer(Efer.nxe) },
  { what: "entering long mode with paging on", levels: 3, write: (cpu) => cpu.efer(Efer.lme) },
  {
    what: "a CR3 beyond the physical addresses",
    levels: 4,
    write: (cpu) => cpu.cr3((1n << 40n) | 0x10_000n),
  },
];

test.each(REFUSED)("$what is #GP, and nothing changes", ({ levels, write }) => {
  const machine = new TestMachine({ levels: levels === 0 ? 2 : levels });
  if (levels !== 0) machine.cpu.boot();
  const registers = [VcpuCell.cr0, VcpuCell.cr3Low, VcpuCell.cr3High, VcpuCell.cr4, VcpuCell.guestLevels];
  const before = registers.map((cell) => machine.cpu.register(cell));
  expect(write(machine.cpu)).toBe(Status.generalProtection);
  expect(registers.map((cell) => machine.cpu.register(cell))).toEqual(before);
  machine.cpu.read(levels === 0 ? 0n : machine.direct(0));
  expect(machine.finish()).toEqual([]);
});

test("a CR3 that names no memory crashes the domain when paging is on, and is only kept when it is off", () => {
  const machine = new TestMachine({ levels: 4 });
  expect(machine.cpu.cr3(0x10_0000_0000n)).toBe(Status.done);
  machine.cpu.boot();
  expect(machine.cpu.cr3(0x3000_0000n)).toBe(Status.stopped);
  expect(machine.machine.domain.crashMessage()).toMatch("CR3 names is not memory");
  expect(machine.cpu.cr0(0)).toBe(Status.stopped);
  expect(machine.cpu.cr4(0)).toBe(Status.stopped);
  expect(machine.cpu.efer(0)).toBe(Status.stopped);
  expect(machine.teardown()).toEqual([]);
});

test("CR3 above 4 GiB is named by all of its bits in long mode, by 32 of them elsewhere", () => {
  const machine = new TestMachine({ levels: 2 });
  machine.cpu.cr4(Cr4.pse);
  machine.cpu.cr3(machine.tables.cr3 | (1n << 32n));
  expect(machine.cpu.cr0(Cr0.pg | Cr0.pe)).toBe(Status.done);
  machine.cpu.read(machine.direct(0));
  const long = TestMachine.running({ levels: 4 });
  expect(long.cpu.cr3(long.tables.cr3 | (1n << 32n))).toBe(Status.stopped);
});

test("LMA is never stored: it is LME and PG", () => {
  const machine = TestMachine.running({ levels: 4 });
  machine.cpu.efer(Efer.lme | Efer.lma | Efer.nxe);
  expect(machine.cpu.register(VcpuCell.efer)).toBe(Efer.lme | Efer.nxe);
  expect(machine.cpu.register(VcpuCell.guestLevels)).toBe(4);
  expect(machine.finish()).toEqual([]);
});

describe.each(FORMATS)("a %i-level guest", (levels) => {
  function withPage(): TestMachine {
    const machine = new TestMachine({ levels });
    machine.tables.map(ADDRESS, PAGE, USER_PAGE);
    machine.tables.map(ADDRESS + 0x1000n, PAGE + 1, KERNEL_PAGE);
    machine.cpu.boot();
    machine.cpu.write(ADDRESS, 7n);
    return machine;
  }

  test("switches paging off and on again, and finds all as it was", () => {
    const machine = withPage();
    const { cpu } = machine;
    const cr0 = cpu.register(VcpuCell.cr0);
    cpu.cr0(cr0 & ~Cr0.pg);
    expect(machine.shadow.frames.type(cpu.root())).toBe(ShadowType.l2_32);
    expect([1, 2, 3].map((slot) => cpu.root(slot))).toEqual([0, 0, 0]);
    expect(cpu.read(BigInt(PAGE * 4096))).toBe(7n);
    cpu.write(BigInt(PAGE * 4096), 8n);
    cpu.cr0(cr0);
    expect(shadowTypeName(machine.shadow.frames.type(cpu.root()))).toBe(shadowTypeName(rootTypeOf(levels)));
    expect(cpu.read(ADDRESS)).toBe(8n);
    expect(machine.finish()).toEqual([]);
  });

  test("writes its tables while paging is off, and they hold when it is on", () => {
    const machine = withPage();
    const { cpu, tables } = machine;
    const cr0 = cpu.register(VcpuCell.cr0);
    cpu.cr0(cr0 & ~Cr0.pg);
    const at = tables.entryAt(ADDRESS, 1);
    const stores = machine.countWhile("emulated_stores", () =>
      cpu.write(BigInt(at), entryOf(PAGE + 1, USER_PAGE)),
    );
    expect(stores).toBe(1);
    cpu.cr0(cr0);
    cpu.write(ADDRESS, 9n);
    expect(machine.ram.readWord((PAGE + 1) * 4096)).toBe(9);
    expect(machine.finish()).toEqual([]);
  });

  test("obeys SMEP and SMAP as soon as CR4 has them", () => {
    const machine = withPage();
    const { cpu } = machine;
    const cr4 = cpu.register(VcpuCell.cr4);
    cpu.read(ADDRESS);
    cpu.fetch(ADDRESS);
    cpu.cr4(cr4 | Cr4.smap);
    expect(cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 1 });
    expect(cpu.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
    cpu.enterKernelMode(true);
    expect(cpu.load(ADDRESS).status).toBe(Status.done);
    cpu.vcpu.setPrivilege(3, true, true);
    expect(cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 1 });
    cpu.enterUserMode();
    expect(cpu.load(ADDRESS).status).toBe(Status.done);
    cpu.enterKernelMode();
    cpu.cr4(cr4 | Cr4.smep);
    expect(cpu.fetch(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 17 });
    expect(cpu.fetch(ADDRESS + 0x1000n).status).toBe(Status.done);
    cpu.cr4(cr4);
    expect(cpu.fetch(ADDRESS).status).toBe(Status.done);
    expect(machine.finish()).toEqual([]);
  });

  test("flushes its TLB with each load of CR3, also of the same value", () => {
    const machine = withPage();
    const { cpu } = machine;
    cpu.read(ADDRESS);
    cpu.cr3(machine.tables.cr3);
    expect(machine.countWhile("tlb_hits", () => cpu.read(ADDRESS))).toBe(0);
    expect(machine.countWhile("make_shadow", () => cpu.cr3(machine.tables.cr3))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("changes its mode with PSE, PGE, PAE, SMEP and when PCIDE goes, and with nothing else", () => {
    const machine = withPage();
    const { cpu } = machine;
    const changes = (value: number): number =>
      machine.countWhile("update_paging_modes", () => cpu.cr4(value));
    const cr4 = cpu.register(VcpuCell.cr4);
    expect(
      [Cr4.pge, Cr4.smep, Cr4.smap, Cr4.pcide, 1 << 22, 1 << 10].map(
        (bit) => changes(cr4 ^ bit) + changes(cr4),
      ),
    ).toEqual([2, 2, 0, 1, 0, 0]);
    expect(cpu.register(VcpuCell.cr4)).toBe(cr4);
    expect(changes(cr4 | (1 << 22))).toBe(0);
    expect(cpu.register(VcpuCell.cr4)).toBe(cr4 | (1 << 22));
    expect(
      machine.countWhile("update_paging_modes", () => cpu.cr0(cpu.register(VcpuCell.cr0) ^ Cr0.wp)),
    ).toBe(0);
    expect(
      machine.countWhile("update_paging_modes", () => cpu.cr0(cpu.register(VcpuCell.cr0) ^ Cr0.cd)),
    ).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("lets go of the old root only when it holds the new one", () => {
    const machine = withPage();
    const other = machine.newTables();
    const { references } = machine.shadow;
    const order: string[] = [];
    const [get, put] = [references.getShadow.bind(references), references.putShadow.bind(references)];
    references.getShadow = (shadow, parent): boolean => {
      if (parent === 0) order.push("get");
      return get(shadow, parent);
    };
    references.putShadow = (shadow, parent): void => {
      if (parent === 0) order.push("put");
      put(shadow, parent);
    };
    machine.cpu.cr3(other.cr3);
    const each = ["get", "get", "put"];
    expect(order).toEqual(levels === 3 ? [...each, ...each, ...each, ...each] : each);
    expect(machine.finish()).toEqual([]);
  });

  test("pays for a table of the hypervisor's own from the pool: one page, or three", () => {
    const machine = withPage();
    const { frames } = machine.shadow;
    const pages = (): number => {
      let count = 0;
      for (let frame = 1; frame < frames.frames; frame++)
        if (frames.type(machine.shadow.frameIn(frame << 12, frame >>> 20)) === ShadowType.monitor_table)
          count++;
      return count;
    };
    expect(pages()).toBe(levels === 4 ? 1 : 3);
    machine.cpu.cr0(machine.cpu.register(VcpuCell.cr0) & ~Cr0.pg);
    expect(pages()).toBe(3);
    expect(machine.finish()).toEqual([]);
  });
});

describe.each([3, 4] as const)("EFER.NXE of a %i-level guest", (levels) => {
  test("decides whether bit 63 forbids fetches or is reserved", () => {
    const machine = new TestMachine({ levels });
    const { cpu } = machine;
    machine.tables.map(ADDRESS, PAGE, USER_PAGE | Bit.nx);
    cpu.boot();
    expect(cpu.load(ADDRESS).status).toBe(Status.done);
    expect(cpu.fetch(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 17 });
    const fresh = new TestMachine({ levels });
    fresh.tables.map(ADDRESS, PAGE, USER_PAGE | Bit.nx);
    fresh.cpu.boot();
    fresh.cpu.efer(fresh.cpu.register(VcpuCell.efer) & ~Efer.nxe);
    expect(fresh.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 9 });
    expect(fresh.cpu.fetch(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 9 });
    fresh.cpu.efer(fresh.cpu.register(VcpuCell.efer) | Efer.nxe);
    expect(fresh.cpu.load(ADDRESS).status).toBe(Status.done);
    expect([...machine.finish(), ...fresh.finish()]).toEqual([]);
  });

  test("leaves shadows that were made before as they are", () => {
    const machine = new TestMachine({ levels });
    machine.tables.map(ADDRESS, PAGE, USER_PAGE | Bit.nx);
    machine.cpu.boot();
    machine.cpu.read(ADDRESS);
    machine.cpu.efer(machine.cpu.register(VcpuCell.efer) & ~Efer.nxe);
    machine.cpu.invlpg(ADDRESS);
    expect(machine.countWhile("demand_faults", () => machine.cpu.read(ADDRESS))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

test("a vCPU goes from one format to another and back, over tables for each", () => {
  const machine = new TestMachine({ levels: 2 });
  const { cpu, ram } = machine;
  const formats = FORMATS.map((levels) => {
    const tables = new GuestTables(ram, levels, () => machine.takePage());
    tables.map(ADDRESS, PAGE + levels, USER_PAGE);
    return { levels, tables };
  });
  for (let round = 0; round < 3; round++) {
    for (const { levels, tables } of formats) {
      cpu.cr0(Cr0.pe);
      cpu.efer(levels === 4 ? Efer.lme : 0);
      cpu.cr4(levels === 2 ? Cr4.pse : Cr4.pae);
      cpu.cr3(tables.cr3);
      cpu.cr0(Cr0.pe | Cr0.pg | Cr0.wp);
      expect(cpu.register(VcpuCell.guestLevels)).toBe(levels);
      expect(cpu.register(VcpuCell.shadowLevels)).toBe(levels === 4 ? 4 : 3);
      cpu.write(ADDRESS, BigInt(round * 16 + levels));
      expect(ram.readWord((PAGE + levels) * 4096)).toBe(round * 16 + levels);
      expect(machine.findings()).toEqual([]);
    }
  }
  expect(machine.finish()).toEqual([]);
});

test("PAE goes on and off with paging on, and the same page is another root then", () => {
  const machine = TestMachine.running({ levels: 2 });
  const { cpu } = machine;
  cpu.cr4(Cr4.pae | Cr4.pse);
  expect(cpu.register(VcpuCell.guestLevels)).toBe(3);
  expect([0, 1, 2, 3].map((slot) => cpu.root(slot))).toEqual([0, 0, 0, 0]);
  expect(cpu.load(machine.direct(0))).toMatchObject({ status: Status.pageFault, errorCode: 0 });
  cpu.cr4(Cr4.pse);
  expect(cpu.load(machine.direct(0)).status).toBe(Status.done);
  expect(machine.finish()).toEqual([]);
});

test("vCPUs of three formats share memory, and each other's tables, whoever writes them", () => {
  const machine = new TestMachine({ levels: 2, vcpus: 3 });
  const formats = FORMATS.map((levels, index) => {
    const tables = new GuestTables(machine.ram, levels, () => machine.takePage());
    tables.map(ADDRESS, PAGE, USER_PAGE);
    for (const [slot, other] of [0, 1, 2].entries())
      tables.map(ADDRESS + BigInt(1 + slot) * 4096n, 0x90 + other, USER_PAGE);
    const cpu = machine.cpuAt(index);
    cpu.efer(levels === 4 ? Efer.lme : 0);
    cpu.cr4(levels === 2 ? Cr4.pse : Cr4.pae);
    cpu.cr3(tables.cr3);
    cpu.cr0(Cr0.pe | Cr0.pg | Cr0.wp);
    cpu.read(ADDRESS);
    return { levels, tables, cpu };
  });
  for (const writer of formats)
    for (const { levels, tables, cpu } of formats) {
      // The writer maps the other's leaf table for itself and writes an entry there.
      const at = tables.entryAt(ADDRESS, 1);
      const window = writer.tables.entryAt(ADDRESS + 0x5000n, 1);
      machine.toolstack.deviceWrite(window, ((at >>> 12) << 12) | Number(USER_PAGE));
      writer.cpu.invlpg(ADDRESS + 0x5000n);
      const target = 0xa0 + levels;
      writer.cpu.write(
        ADDRESS + 0x5000n + BigInt(at & 4095),
        entryOf(target, USER_PAGE),
        levels === 2 ? 4 : 8,
      );
      cpu.invlpg(ADDRESS);
      cpu.write(ADDRESS, BigInt(target));
      expect(machine.ram.readWord(target * 4096)).toBe(target);
      expect(machine.findings()).toEqual([]);
    }
  expect(machine.finish()).toEqual([]);
});
