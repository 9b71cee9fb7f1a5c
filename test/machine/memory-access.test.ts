/** Memory operations of a vCPU: TLB, walk, access, fault. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Cr4 } from "../../src/machine/control-registers.ts";
import { FaultAnswer, Status } from "../../src/machine/exits.ts";
import { Counter } from "../../src/memory/counters.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { BareVcpu } from "./bare-vcpu.ts";

const PAGE = 0x1234_5000n;
const FRAME = 40;
const ACCESSED = 0x20;
const DIRTY = 0x40;

function withPages(): BareVcpu {
  const bare = new BareVcpu();
  bare.map(PAGE, FRAME);
  bare.map(PAGE + 0x1000n, FRAME + 2);
  return bare;
}

describe("an access", () => {
  test("reads and writes the bytes that it names, aligned or not, in one page or two", () => {
    const bare = withPages();
    const shadow = new Uint8Array(8192);
    const view = new DataView(shadow.buffer);
    const offsets = fc.oneof(fc.nat(8184), fc.integer({ min: 4088, max: 4096 }));
    const sizes = fc.constantFrom(1, 2, 4, 8);
    const values = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    const read = (offset: number, size: number): bigint => BigInt.asUintN(size * 8, readBytes(view, offset));
    fc.assert(
      fc.property(offsets, sizes, values, values, fc.boolean(), (offset, size, value, other, isRight) => {
        const address = PAGE + BigInt(offset);
        expect(bare.load(address, size)).toBe(Status.done);
        expect(bare.result).toBe(read(offset, size));
        bare.store(address, value, size);
        writeBytes(view, offset, value, size);
        expect(bare.exchange(address, isRight ? value : other, other, size)).toBe(Status.done);
        expect(bare.result).toBe(BigInt.asUintN(size * 8, value));
        const isEqual = isRight || BigInt.asUintN(size * 8, value ^ other) === 0n;
        expect(bare.vcpu.exchanged).toBe(isEqual);
        if (isEqual) writeBytes(view, offset, other, size);
        bare.fetch(address, size);
        expect(bare.result).toBe(read(offset, size));
      }),
    );
    for (const [page, frame] of [FRAME, FRAME + 2].entries())
      for (let byte = 0; byte < 4096; byte++)
        expect(bare.memory.loadByte(frame * 4096 + byte)).toBe(shadow[page * 4096 + byte]);
  });

  test("goes by the TLB until that is flushed, whatever the tables say", () => {
    const bare = withPages();
    bare.store(PAGE, 5n);
    bare.map(PAGE, FRAME + 1);
    bare.load(PAGE);
    expect([bare.result, bare.vcpu.counters.value(Counter.tlb_hits)]).toEqual([5n, 1]);
    bare.vcpu.mailbox.flushLocal();
    bare.load(PAGE);
    expect([bare.result, bare.vcpu.frame]).toEqual([0n, FRAME + 1]);
  });

  test("sets A with the walk, and D with the first write, which walks again", () => {
    const bare = withPages();
    const flags = (): number => bare.memory.loadEntry(bare.leafCell(PAGE)) & (ACCESSED | DIRTY);
    bare.load(PAGE);
    expect(flags()).toBe(ACCESSED);
    bare.store(PAGE, 1n);
    expect([flags(), bare.vcpu.counters.value(Counter.shadow_walks)]).toEqual([ACCESSED | DIRTY, 2]);
    bare.store(PAGE, 1n);
    expect(bare.vcpu.counters.value(Counter.shadow_walks)).toBe(2);
  });

  test("that a cached translation refuses exits with the rights at fault, and is tried again from the tables", () => {
    const bare = new BareVcpu();
    bare.map(PAGE, FRAME, 5);
    bare.load(PAGE);
    bare.map(PAGE, FRAME, 7);
    bare.onFault = (): number => FaultAnswer.retry;
    expect(bare.store(PAGE, 1n)).toBe(Status.done);
    expect(bare.faults).toEqual([3]);
    expect(bare.vcpu.counters.value(Counter.tlb_denials)).toBe(1);
  });

  test("beyond the canonical addresses is #GP, and exits nowhere", () => {
    const bare = new BareVcpu();
    expect(bare.load(0x8000_0000_0000n)).toBe(Status.generalProtection);
    expect(bare.faults).toEqual([]);
  });
});

describe("a fault", () => {
  test.each([
    { what: "a load", act: (bare: BareVcpu) => bare.load(PAGE), errorCode: 0 },
    { what: "a store", act: (bare: BareVcpu) => bare.store(PAGE, 1n), errorCode: 2 },
    { what: "a compare-exchange", act: (bare: BareVcpu) => bare.exchange(PAGE, 0n, 1n), errorCode: 2 },
    { what: "a fetch", act: (bare: BareVcpu) => bare.fetch(PAGE), errorCode: 16 },
  ])("of $what names it", ({ act, errorCode }) => {
    const bare = new BareVcpu();
    expect(act(bare)).toBe(Status.pageFault);
    bare.vcpu.setPrivilege(3, false, false);
    expect(act(bare)).toBe(Status.pageFault);
    expect(bare.faults).toEqual([errorCode, errorCode | 4]);
  });

  test.each([
    { answer: FaultAnswer.inject, status: Status.pageFault },
    { answer: FaultAnswer.emulated, status: Status.done },
    { answer: FaultAnswer.stop, status: Status.stopped },
  ])("answered with $answer ends the operation with $status", ({ answer, status }) => {
    const bare = new BareVcpu();
    bare.onFault = (): number => answer;
    expect(bare.load(PAGE + 5n)).toBe(status);
    const isInjected = status === Status.pageFault;
    expect(bare.vcpu.register(VcpuCell.cr2Low)).toBe(isInjected ? Number(PAGE + 5n) : 0);
  });

  test("is preceded by the loss of the page's translation", () => {
    const bare = new BareVcpu();
    bare.map(PAGE, FRAME, 5);
    bare.load(PAGE);
    const { vcpu } = bare;
    let found = 0;
    bare.onFault = (): number => {
      found = vcpu.tlb.find(Number(PAGE), 0);
      return FaultAnswer.inject;
    };
    bare.store(PAGE, 1n);
    expect(found).toBe(-1);
  });

  test("leaves the operation where the hypervisor's emulator finds it", () => {
    const bare = new BareVcpu();
    bare.exchange(PAGE + 8n, 0x1_0000_0002n, 0x3_0000_0004n, 8);
    const { operation, size, addressLow, expectedLow, expectedHigh, valueLow, valueHigh } = bare.vcpu;
    expect({ operation, size, addressLow, expectedLow, expectedHigh, valueLow, valueHigh }).toEqual({
      operation: 2,
      size: 8,
      addressLow: Number(PAGE + 8n),
      expectedLow: 2,
      expectedHigh: 1,
      valueLow: 4,
      valueHigh: 3,
    });
  });
});

describe("an access that crosses pages", () => {
  test("touches no byte before both pages translate", () => {
    const bare = withPages();
    bare.memory.storeEntry(bare.leafCell(PAGE + 0x1000n), 0, 0);
    expect(bare.store(PAGE + 0xffen, 0x1122_3344n)).toBe(Status.pageFault);
    expect(bare.vcpu.register(VcpuCell.cr2Low)).toBe(Number(PAGE + 0x1000n));
    bare.load(PAGE + 0xffcn);
    expect(bare.result).toBe(0n);
  });

  test("translates both anew when the second had to be fixed", () => {
    const bare = withPages();
    bare.memory.storeEntry(bare.leafCell(PAGE + 0x1000n), 0, 0);
    bare.onFault = (): number => {
      // Meanwhile the first page moves, and everybody is flushed.
      bare.map(PAGE, FRAME + 4);
      bare.map(PAGE + 0x1000n, FRAME + 2);
      bare.vcpu.mailbox.flushLocal();
      return FaultAnswer.retry;
    };
    expect(bare.store(PAGE + 0xffen, 0x1122_3344n)).toBe(Status.done);
    expect(bare.memory.loadWord(((FRAME + 4) << 10) | 1023)).toBe(0x3344_0000);
    expect(bare.memory.loadWord((FRAME << 10) | 1023)).toBe(0);
    expect(bare.memory.loadWord((FRAME + 2) << 10)).toBe(0x1122);
  });

  test("out of the canonical addresses is #GP, whether or not its first page translates, and exits nowhere", () => {
    const last = 0x7fff_ffff_f000n;
    for (const flags of [0, 7]) {
      const bare = new BareVcpu();
      bare.map(last, FRAME, flags);
      expect(bare.load(last + 0xffdn)).toBe(Status.generalProtection);
      expect(bare.store(last + 0xffdn, 1n, 8)).toBe(Status.generalProtection);
      expect(bare.faults).toEqual([]);
      expect(bare.memory.loadEntry(bare.leafCell(last)) & (ACCESSED | DIRTY)).toBe(0);
    }
  });

  test("into the canonical addresses is #GP too, and one from their end to their start is none", () => {
    const bare = new BareVcpu();
    bare.map(0xffff_8000_0000_0000n, FRAME);
    expect(bare.load(0xffff_7fff_ffff_fffen)).toBe(Status.generalProtection);
    bare.map(0xffff_ffff_ffff_f000n, FRAME);
    bare.map(0n, FRAME + 2);
    expect(bare.store(0xffff_ffff_ffff_fffen, 0x1122_3344n)).toBe(Status.done);
    expect(bare.memory.loadWord((FRAME + 2) << 10)).toBe(0x1122);
    expect(bare.faults).toEqual([]);
  });

  test("has no canonical addresses with 32-bit tables", () => {
    const bare = new BareVcpu();
    bare.vcpu.setRegister(VcpuCell.shadowLevels, 3);
    expect(bare.load(0xffff_fffen)).toBe(Status.pageFault);
    expect(bare.load(0x7fff_fffen)).toBe(Status.pageFault);
  });

  test("goes on at 0 behind the last 32-bit address, and at the next 4 GiB in long mode", () => {
    const bare = new BareVcpu();
    const seen: number[] = [];
    bare.onFault = (_, __, addressHigh): number => {
      seen.push(addressHigh);
      return FaultAnswer.inject;
    };
    bare.map(0xffff_f000n, FRAME);
    bare.load(0xffff_fffen, 4);
    expect(seen).toEqual([1]);
    expect(bare.vcpu.highOfNextPage(0, 0)).toBe(1);
    bare.vcpu.setRegister(VcpuCell.shadowLevels, 3);
    expect([bare.vcpu.highOfNextPage(0, 0), bare.vcpu.highOfNextPage(4096, 0)]).toEqual([0, 0]);
  });
});

describe("privilege", () => {
  const kernel = 3;
  const user = 7;

  test.each([
    { cr4: 0, ac: false, data: true, fetch: true },
    { cr4: Cr4.smap, ac: false, data: false, fetch: true },
    { cr4: Cr4.smap, ac: true, data: true, fetch: true },
    { cr4: Cr4.smep, ac: false, data: true, fetch: false },
  ])("of a supervisor on a user page with CR4 $cr4 and AC $ac holds for TLB hits as for walks", (given) => {
    const bare = new BareVcpu();
    bare.map(PAGE, FRAME, user);
    bare.map(PAGE + 0x1000n, FRAME, kernel);
    bare.vcpu.setPrivilege(3, false, false);
    for (const isCached of [false, true]) {
      if (isCached) bare.load(PAGE);
      bare.vcpu.setRegister(VcpuCell.cr4, given.cr4);
      bare.vcpu.setPrivilege(0, given.ac, false);
      expect(bare.load(PAGE) === Status.done).toBe(given.data);
      bare.vcpu.setPrivilege(3, false, false);
      if (isCached) bare.load(PAGE);
      bare.vcpu.setPrivilege(0, given.ac, false);
      expect(bare.fetch(PAGE) === Status.done).toBe(given.fetch);
      expect([bare.load(PAGE + 0x1000n), bare.fetch(PAGE + 0x1000n)]).toEqual([Status.done, Status.done]);
      bare.vcpu.mailbox.flushLocal();
      bare.vcpu.setPrivilege(3, false, false);
    }
  });

  test("of an access that the processor makes of its own accord is a supervisor's, and AC does not help it", () => {
    const bare = new BareVcpu();
    bare.map(PAGE, FRAME, user);
    bare.map(PAGE + 0x1000n, FRAME, kernel);
    bare.vcpu.setRegister(VcpuCell.cr4, Cr4.smap);
    bare.vcpu.setPrivilege(3, true, true);
    expect([bare.load(PAGE), bare.load(PAGE + 0x1000n)]).toEqual([Status.pageFault, Status.done]);
    bare.vcpu.setPrivilege(3, true, false);
    expect([bare.load(PAGE), bare.load(PAGE + 0x1000n)]).toEqual([Status.done, Status.pageFault]);
    expect(bare.faults).toEqual([1, 5]);
  });

  test("knows neither SMEP nor SMAP while the guest has paging off", () => {
    const bare = new BareVcpu();
    bare.map(PAGE, FRAME, user);
    bare.vcpu.setRegister(VcpuCell.cr4, Cr4.smap | Cr4.smep);
    bare.vcpu.setRegister(VcpuCell.pagingOn, 0);
    bare.vcpu.refreshRights();
    for (let time = 0; time < 2; time++)
      expect([bare.load(PAGE), bare.fetch(PAGE)]).toEqual([Status.done, Status.done]);
  });
});

function withCache(): BareVcpu {
  const bare = new BareVcpu(0, { structureCacheEntries: 4 });
  bare.map(PAGE, FRAME);
  bare.map(PAGE + 0x1000n, FRAME + 1);
  bare.load(PAGE);
  return bare;
}

/** Cell of the level 2 entry above the pages. */
function level2(bare: BareVcpu): number {
  let table = 1;
  for (const shift of [39n, 30n]) {
    const slot = Number(BigInt.asUintN(9, PAGE >> shift));
    table = bare.memory.loadEntry((table << 10) | (slot << 1)) >>> 12;
  }
  return (table << 10) | (Number(BigInt.asUintN(9, PAGE >> 21n)) << 1);
}

describe("a paging-structure cache", () => {
  test("lets a walk begin at the leaf table", () => {
    const bare = withCache();
    bare.memory.storeEntry(level2(bare), 0, 0);
    expect(bare.load(PAGE + 0x1000n)).toBe(Status.done);
    expect(bare.vcpu.counters.value(Counter.structure_cache_hits)).toBe(1);
    bare.vcpu.mailbox.flushLocal();
    expect(bare.load(PAGE + 0x1000n)).toBe(Status.pageFault);
  });

  test("is forgotten with INVLPG of any page", () => {
    const bare = withCache();
    bare.memory.storeEntry(level2(bare), 0, 0);
    bare.vcpu.invlpg(0x7000_0000, 0);
    expect(bare.load(PAGE + 0x1000n)).toBe(Status.pageFault);
  });

  test("is not believed when it says that an access is refused", () => {
    const bare = new BareVcpu(0, { structureCacheEntries: 4 });
    bare.map(PAGE, FRAME);
    bare.map(PAGE + 0x1000n, FRAME + 1);
    bare.memory.andWord(level2(bare), ~2);
    bare.load(PAGE);
    bare.memory.orWord(level2(bare), 2);
    expect(bare.store(PAGE + 0x1000n, 1n)).toBe(Status.done);
    expect(bare.faults).toEqual([]);
  });
});

function readBytes(view: DataView, offset: number): bigint {
  let value = 0n;
  for (let byte = 0; byte < 8 && offset + byte < view.byteLength; byte++)
    value |= BigInt(view.getUint8(offset + byte)) << BigInt(8 * byte);
  return value;
}

function writeBytes(view: DataView, offset: number, value: bigint, size: number): void {
  for (let byte = 0; byte < size; byte++)
    view.setUint8(offset + byte, Number((value >> BigInt(8 * byte)) & 0xffn));
}
