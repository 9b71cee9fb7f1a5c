/** What the guest's own tables refuse, and what a fault leaves behind (spec 4.1, 4.6, 13, 20.8). */
import { describe, expect, test } from "vitest";
import { Status } from "../../src/machine/exits.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;

/** Levels whose entries have rights, A and D: not PAE's third. */
function levelsOf(levels: GuestLevels): number[] {
  return levels === 3 ? [1, 2] : Array.from({ length: levels }, (_, index) => index + 1);
}

const CASES = FORMATS.flatMap((levels) => levelsOf(levels).map((level) => ({ levels, level })));

/** A guest whose entries for an address have neither A nor D, and one of them is as `change` makes it. */
function withEntry(levels: GuestLevels, level: number, change: (entry: bigint) => bigint): TestMachine {
  const machine = new TestMachine({ levels });
  const { tables } = machine;
  tables.map(ADDRESS, PAGE, Bit.p | Bit.w | Bit.u);
  for (const each of levelsOf(levels)) {
    const at = tables.entryAt(ADDRESS, each);
    const entry = tables.read(at) & ~(Bit.a | Bit.d);
    tables.write(at, each === level ? change(entry) : entry);
  }
  machine.cpu.boot();
  return machine;
}

/** The A and D bits of every level, from the leaf up. */
function accessed(machine: TestMachine): bigint[] {
  const { levels, tables, ram } = machine;
  let table = tables.root;
  const bits: bigint[] = [];
  for (let level: number = levels; level >= 1; level--) {
    const slot = Number(
      BigInt.asUintN(levels === 2 ? 10 : 9, ADDRESS >> BigInt(12 + (levels === 2 ? 10 : 9) * (level - 1))),
    );
    const at = table * 4096 + slot * entryBytes(levels);
    if (!(levels === 3 && level === 3)) bits.unshift(tables.read(at) & (Bit.a | Bit.d));
    table = Number((tables.read(at) >> 12n) & 0xfff_ffffn);
    if (table >= ram.pages) break;
  }
  return bits;
}

describe.each(CASES)("an entry of level $level of $levels", ({ levels, level }) => {
  const untouched = levelsOf(levels).map(() => 0n);

  test("that is not present refuses everything, and no A is set on the way", () => {
    const machine = withEntry(levels, level, (entry) => entry & ~Bit.p);
    expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 0, cr2: ADDRESS });
    machine.cpu.enterUserMode();
    expect(machine.cpu.store(ADDRESS + 8n, 1n)).toMatchObject({ errorCode: 6, cr2: ADDRESS + 8n });
    expect(machine.cpu.fetch(ADDRESS)).toMatchObject({ errorCode: levels === 2 ? 4 : 20 });
    expect(accessed(machine)).toEqual(untouched);
    expect(machine.finish()).toEqual([]);
  });

  test("without U/S refuses user mode, and no A is set on the way", () => {
    const machine = withEntry(levels, level, (entry) => entry & ~Bit.u);
    machine.cpu.enterUserMode();
    expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 5 });
    expect(machine.cpu.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 7 });
    expect(accessed(machine)).toEqual(untouched);
    machine.cpu.enterKernelMode();
    expect(machine.cpu.load(ADDRESS).status).toBe(Status.done);
    expect(accessed(machine)).toEqual(untouched.map(() => Bit.a));
    machine.cpu.enterUserMode();
    expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 5 });
    expect(machine.finish()).toEqual([]);
  });

  test("without R/W refuses writes, and no D is set", () => {
    const machine = withEntry(levels, level, (entry) => entry & ~Bit.w);
    expect(machine.cpu.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
    expect(accessed(machine)).toEqual(untouched);
    expect(machine.cpu.load(ADDRESS).status).toBe(Status.done);
    expect(machine.cpu.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 3 });
    expect(accessed(machine)).toEqual(untouched.map(() => Bit.a));
    expect(machine.finish()).toEqual([]);
  });

  test("with XD refuses fetches, where there is XD", () => {
    const machine = withEntry(levels, level, (entry) => entry | (levels === 2 ? 0n : Bit.nx));
    const fetch = machine.cpu.fetch(ADDRESS);
    expect(fetch).toMatchObject(
      levels === 2 ? { status: Status.done } : { status: Status.pageFault, errorCode: 17 },
    );
    expect(accessed(machine)).toEqual(untouched.map(() => (levels === 2 ? Bit.a : 0n)));
    expect(machine.cpu.load(ADDRESS).status).toBe(Status.done);
    expect(machine.finish()).toEqual([]);
  });

  test("with a reserved bit refuses everything with RSVD, and no A is set", () => {
    const bits = reservedBits(levels, level);
    for (const bit of bits) {
      const machine = withEntry(levels, level, (entry) => entry | bit);
      expect(machine.cpu.load(ADDRESS)).toMatchObject({ status: Status.pageFault, errorCode: 9 });
      expect(machine.cpu.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 11 });
      expect(accessed(machine).every((each) => each === 0n)).toBe(true);
      expect(machine.finish()).toEqual([]);
    }
    expect(bits.length > 0).toBe(levels !== 2);
  });

  test("gets A with the first access that passes, and D with the first write if it is the leaf", () => {
    const machine = withEntry(levels, level, (entry) => entry);
    machine.cpu.read(ADDRESS);
    expect(accessed(machine)).toEqual(untouched.map(() => Bit.a));
    machine.cpu.write(ADDRESS, 1n);
    expect(accessed(machine)).toEqual(untouched.map((_, index) => (index === 0 ? Bit.a | Bit.d : Bit.a)));
    expect(machine.finish()).toEqual([]);
  });

  test("whose A the guest clears gets it again with the next access after a flush", () => {
    const machine = withEntry(levels, level, (entry) => entry);
    const { cpu, tables } = machine;
    cpu.write(ADDRESS, 1n);
    const at = tables.entryAt(ADDRESS, level);
    cpu.writeEntry(at, tables.read(at) & ~(Bit.a | Bit.d));
    cpu.invlpg(ADDRESS);
    cpu.read(ADDRESS);
    expect(tables.read(at) & (Bit.a | Bit.d)).toBe(Bit.a);
    cpu.write(ADDRESS, 2n);
    expect(tables.read(at) & (Bit.a | Bit.d)).toBe(level === 1 ? Bit.a | Bit.d : Bit.a);
    expect(machine.finish()).toEqual([]);
  });
});

/** Bits that a present entry must not have; of a table's entry, for level 2 of PAE and 4 levels PS is none of them. */
function reservedBits(levels: GuestLevels, level: number): bigint[] {
  if (levels === 2) return [];
  const bits = [1n << 40n, 1n << 51n];
  if (levels === 3) bits.push(1n << 52n, 1n << 62n);
  if (level > 2) bits.push(Bit.ps);
  return bits;
}

describe.each(FORMATS)("a %i-level guest", (levels) => {
  test("writes to read-only pages in user mode get the error code of a user's write", () => {
    const machine = withEntry(levels, 1, (entry) => entry & ~Bit.w);
    machine.cpu.enterUserMode();
    expect(machine.cpu.store(ADDRESS, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 7 });
    expect(machine.cpu.exchange(ADDRESS, 0n, 1n)).toMatchObject({ status: Status.pageFault, errorCode: 7 });
    expect(machine.finish()).toEqual([]);
  });

  test("gets D set by a compare-exchange that fails", () => {
    const machine = withEntry(levels, 1, (entry) => entry);
    expect(machine.cpu.exchange(ADDRESS, 5n, 6n)).toMatchObject({ status: Status.done, exchanged: false });
    expect(accessed(machine)[0]).toBe(Bit.a | Bit.d);
    expect(machine.finish()).toEqual([]);
  });

  test("raises rights without a flush, and they are there", () => {
    const machine = withEntry(levels, 1, (entry) => entry & ~(Bit.w | Bit.u));
    const { cpu, tables } = machine;
    cpu.read(ADDRESS);
    const at = tables.entryAt(ADDRESS, 1);
    cpu.writeEntry(at, entryOf(PAGE, USER_PAGE));
    cpu.write(ADDRESS, 1n);
    cpu.enterUserMode();
    cpu.write(ADDRESS, 2n);
    expect(machine.finish()).toEqual([]);
  });

  test("has its fault address in CR2, all of it, and only faults change it", () => {
    const machine = TestMachine.running({ levels });
    const address = levels === 4 ? 0xffff_9123_4567_8abcn : 0x9234_5abcn;
    machine.cpu.load(address);
    machine.cpu.load(machine.direct(0));
    const { cpu } = machine;
    expect([cpu.register(VcpuCell.cr2Low) >>> 0, cpu.register(VcpuCell.cr2High) >>> 0]).toEqual([
      Number(BigInt.asUintN(32, address)),
      Number(address >> 32n),
    ]);
    expect(machine.finish()).toEqual([]);
  });

  test("is not told of faults that are the hypervisor's own", () => {
    const machine = withEntry(levels, 1, (entry) => entry);
    const injected = machine.countWhile("injected", () => {
      machine.cpu.read(ADDRESS);
      machine.cpu.write(ADDRESS, 1n);
      machine.cpu.writeEntry(machine.tables.entryAt(ADDRESS, 1), entryOf(PAGE + 1, USER_PAGE));
      machine.cpu.read(ADDRESS);
    });
    expect(injected).toBe(0);
    expect(machine.finish()).toEqual([]);
  });
});

test.each([0x8000_0000_0000n, 0xffff_7fff_ffff_ffffn, 0x7fff_ffff_ffffn])(
  "an access that touches an address beyond the canonical ones is #GP in long mode (%i)",
  (address) => {
    const machine = TestMachine.running({ levels: 4 });
    machine.tables.map(0x7fff_ffff_f000n, PAGE, USER_PAGE);
    expect(machine.cpu.load(address, 2).status).toBe(Status.generalProtection);
    expect(machine.cpu.store(address, 1n, 8).status).toBe(Status.generalProtection);
    machine.cpu.invlpg(address);
    expect(machine.finish()).toEqual([]);
  },
);
