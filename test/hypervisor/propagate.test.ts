/** From a guest entry to its shadow: the rules one by one, against a list of them in integers (spec 4.8). */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fetch } from "../../src/hypervisor/shadow/propagate.ts";
import { P2mType, p2mEntry } from "../../src/hypervisor/p2m-type.ts";
import { mfn } from "../../src/memory/units.ts";
import { DomainCell, PageSizeMeaning } from "../../src/memory/domain-area.ts";
import { Cr4 } from "../../src/machine/control-registers.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, gfnOf } from "./guest-tables.ts";
import { giveType } from "./page-types.ts";
import { TestMachine, high, low } from "./test-machine.ts";

/** The first of nine pages, of as many types. */
const TYPED = 0x50;
const BEYOND = 0xfff_ff00_0000_0000n & ((1n << 52n) - 1n);
const ALL_ONES = (1n << 64n) - 1n;

/** Entries in which everything that matters is often so and often not. */
const entries = fc
  .tuple(
    fc.subarray([0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n, 11n, 63n, 58n]),
    fc.oneof(fc.nat(0x7f), fc.integer({ min: TYPED, max: TYPED + 8 })),
    fc.constantFrom(0n, 0n, 0n, 1n << 40n, 1n << 51n),
  )
  .map(([set, gfn, extra]) => set.reduce((entry, bit) => entry | (1n << bit), BigInt(gfn) << 12n) | extra);

describe.each(FORMATS)("the shadow entry of a %i-level guest", (levels) => {
  const machine = new TestMachine({ levels });
  machine.cpu.boot();
  const { types } = machine.toolstack;
  for (const type of Object.values(P2mType)) giveType(machine.toolstack, TYPED + type, type);
  const { shadow } = machine;
  const { propagation, domain } = shadow;
  const answer = (): bigint => (BigInt(propagation.high >>> 0) << 32n) | BigInt(propagation.low >>> 0);
  const narrow = (entry: bigint): bigint => (levels === 2 ? BigInt.asUintN(32, entry) : entry);

  test("is made for pages of every type", () => {
    expect(Object.values(P2mType).map((type) => types.typeOf(TYPED + type))).toEqual(Object.values(P2mType));
  });

  test("for a leaf is what the rules make of the guest's", () => {
    fc.assert(
      fc.property(entries.map(narrow), (guest) => {
        const gfn = gfnOf(guest);
        const entry = machine.machine.p2m.entryOf(gfn);
        propagation.leaf(low(guest), high(guest), entry, gfn, levels, Fetch.prefetch);
        const frame = mfn(entry >>> 4);
        expect(answer()).toBe(leafByTheRules(guest, frame, entry & 15, shadow.pages.isPagetable(frame)));
      }),
      { numRuns: 500 },
    );
  });

  function leafByTheRules(guest: bigint, frame: number, type: number, isTable: boolean): bigint {
    if ((guest & BEYOND) !== 0n) return 0n;
    if ((guest & Bit.p) === 0n) return ALL_ONES;
    if (type >= P2mType.populateOnDemand) return 0n;
    if (type === P2mType.mmioDm) {
      if ((guest & Bit.a) === 0n) return 0n;
      const rights = guest & ((guest & Bit.d) === 0n ? Bit.u : Bit.u | Bit.w);
      return (0xfff_ffffn << 36n) | (BigInt(gfnOf(guest)) << 4n) | rights | Bit.p;
    }
    let flags = guest & (Bit.p | Bit.w | Bit.u | Bit.a);
    if (levels !== 2) flags |= guest & Bit.nx;
    if ((guest & Bit.a) === 0n) flags &= ~Bit.p;
    const isReadOnly = type === P2mType.ramRo || type === P2mType.ramLogdirty;
    if ((guest & Bit.d) === 0n || isTable || isReadOnly) flags &= ~Bit.w;
    return (BigInt(frame) << 12n) | flags;
  }

  test("above the leaves has A and D, points to the child's shadow, and holds what a clean large page restricts", () => {
    fc.assert(
      fc.property(entries.map(narrow), fc.constantFrom(0, 0x123), fc.boolean(), (guest, child, isLarge) => {
        propagation.upper(low(guest), high(guest), mfn(child), levels, isLarge);
        let due = 0n;
        if ((guest & Bit.p) !== 0n && child !== 0 && (guest & BEYOND) === 0n) {
          let flags = (guest & (Bit.p | Bit.w | Bit.u)) | Bit.a | Bit.d;
          if (levels !== 2) flags |= guest & Bit.nx;
          if ((guest & Bit.a) === 0n) flags &= ~Bit.p;
          if (isLarge && (guest & Bit.d) === 0n) flags &= ~Bit.w;
          due = (BigInt(child) << 12n) | flags;
        }
        expect(answer()).toBe(due);
      }),
    );
  });

  test("has no XD while the guest has none", () => {
    machine.cpu.efer(machine.cpu.register(VcpuCell.efer) & ~(1 << 11));
    propagation.leaf(0x61, -(2 ** 31), machine.machine.p2m.entryOf(0x60), 0x60, levels, Fetch.prefetch);
    expect(propagation.high).toBe(0);
    machine.cpu.efer(machine.cpu.register(VcpuCell.efer) | (1 << 11));
    propagation.leaf(0x61, -(2 ** 31), machine.machine.p2m.entryOf(0x60), 0x60, levels, Fetch.prefetch);
    expect(propagation.high).toBe(levels === 2 ? 0 : -(2 ** 31));
  });

  test("notes that a device's entry was made, since a change of the p2m must find it", () => {
    domain.forgetFastMmioEntries();
    propagation.leaf(0x61, 0, machine.machine.p2m.entryOf(0x60), 0x60, levels, Fetch.prefetch);
    expect(domain.hasFastMmioEntries()).toBe(false);
    propagation.leaf(0x61, 0, P2mType.mmioDm, 0x5000, levels, Fetch.prefetch);
    expect(domain.hasFastMmioEntries()).toBe(true);
  });
});

test.each(FORMATS)("without the fast path there are no magic entries (%i levels)", (levels) => {
  const { propagation } = TestMachine.running({ levels, switches: { "fast-fault-path": false } }).shadow;
  propagation.leaf(0, 0, P2mType.mmioDm, 0, levels, Fetch.prefetch);
  expect([propagation.low, propagation.high]).toEqual([0, 0]);
  propagation.leaf(0x67, 0, P2mType.mmioDm, 0x5000, levels, Fetch.prefetch);
  expect([propagation.low, propagation.high]).toEqual([0, 0]);
});

test("the identity table is a pagetable that no leaf lets be written", () => {
  const machine = TestMachine.running({ levels: 4 });
  const { domain, pages, propagation, frames } = machine.shadow;
  const identity = mfn(domain.read(DomainCell.unpagedTable));
  expect([frames.shadowFlags(identity) !== 0, pages.isPagetable(identity)]).toEqual([true, true]);
  propagation.leaf(0x67, 0, p2mEntry(identity, P2mType.ramRw), 1, 4, Fetch.prefetch);
  expect(propagation.low & 2).toBe(0);
  expect(pages.getMapping(identity, true)).toBe(false);
});

test("PS means a large page except in 2-level tables of guests without CR4.PSE", () => {
  const machine = TestMachine.running({ levels: 2 });
  const { propagation, domain } = machine.shadow;
  expect(domain.read(DomainCell.pageSizeMeaning)).toBe(PageSizeMeaning.honoured);
  expect([propagation.honoursPageSize(0x80, 2), propagation.honoursPageSize(0, 2)]).toEqual([true, false]);
  machine.cpu.cr4(machine.cpu.register(VcpuCell.cr4) & ~Cr4.pse);
  expect([2, 3, 4].map((format) => propagation.honoursPageSize(0x80, format))).toEqual([false, true, true]);
});
