/** Revoking write access from a page that becomes a pagetable (spec 6). */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Guesses } from "../../src/hypervisor/shadow/revoke-guesses.ts";
import { Revoked } from "../../src/hypervisor/shadow/revoke.ts";
import { CrashReason, DomainCell } from "../../src/memory/domain-area.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine, high, low } from "./test-machine.ts";

interface Row {
  readonly levels: readonly number[] | "always";
  readonly address: (fault: bigint, page: bigint) => bigint;
  readonly lowmem?: boolean;
}

const VA = (1n << 48n) - 1n;
const linear = (level: number, base: bigint, shift: bigint, mask = VA): Row => ({
  levels: [level],
  address: (fault) => base + ((fault & mask) >> shift),
});
const direct = (base: bigint): Row => ({ levels: "always", address: (_, page) => base + page });
const lowmem = (base: bigint): Row => ({ ...direct(base), lowmem: true });

/** The table of guesses, row by row, as the specification has it. */
const TABLE: Readonly<Record<GuestLevels, readonly Row[]>> = {
  2: [linear(1, 0xc000_0000n, 10n), lowmem(0xc000_0000n), linear(1, 0xbfc0_0000n, 10n)],
  3: [
    linear(1, 0xc000_0000n, 9n),
    linear(2, 0xc060_0000n, 18n),
    lowmem(0xc000_0000n),
    linear(1, 0xbf80_0000n, 9n),
    linear(2, 0xbfdf_c000n, 18n),
  ],
  4: [
    linear(1, 0xffff_f680_0000_0000n, 9n),
    linear(2, 0xffff_f6fb_4000_0000n, 18n),
    linear(3, 0xffff_f6fb_7da0_0000n, 27n),
    direct(0xffff_8800_0000_0000n),
    direct(0xffff_8100_0000_0000n),
    direct(0x0000_0100_0000_0000n),
    direct(0xffff_8880_0000_0000n),
    direct(0xffff_fe00_0000_0000n),
    linear(1, 0xffff_8000_0000_0000n, 9n),
    linear(2, 0xffff_8040_0000_0000n, 18n),
    linear(3, 0xffff_8040_2000_0000n, 27n),
    direct(0xffff_ff00_0000_0000n),
  ],
};

describe.each(FORMATS)("the guesses for a %i-level guest", (levels) => {
  const machine = TestMachine.running({ levels });
  const { shadow } = machine;
  const guesses = new Guesses(shadow);
  const bits = levels === 4 ? 64n : 32n;
  const tried: bigint[] = [];
  shadow.tables.findLeaf = (addressLow, addressHigh): boolean => {
    tried.push(BigInt.asUintN(64, (BigInt(addressHigh) << 32n) | BigInt(addressLow >>> 0)));
    return false;
  };

  test("are those of the table, in its order", () => {
    const addresses = fc.bigInt({ min: 0n, max: (1n << bits) - 1n });
    const pages = fc.oneof(
      fc.integer({ min: 0, max: 2 ** 28 - 1 }),
      fc.integer({ min: 0x37ff0, max: 0x38010 }),
    );
    fc.assert(
      fc.property(addresses, pages, fc.integer({ min: 0, max: levels }), (fault, gfn, level) => {
        tried.length = 0;
        const frame = machine.frame(0x80);
        shadow.frames.setBack(frame, gfn);
        guesses.tryAll(frame, level, low(fault), high(fault));
        const due = TABLE[levels]
          .filter((row) => row.levels === "always" || row.levels.includes(level))
          .filter((row) => row.lowmem !== true || gfn < 0x38000)
          .map((row) => BigInt.asUintN(Number(bits), row.address(fault, BigInt(gfn) << 12n)));
        expect(tried.map((address) => BigInt.asUintN(Number(bits), address))).toEqual(due);
      }),
    );
  });
});

/** Page that becomes a table, and the address of which it translates the first pages. */
const PAGE = 0x80;
const BELOW = 0x3000_0000n;

/** A guest with one writable mapping of a page, at an address of its choice, and the page about to be a table. */
function withWriter(
  levels: GuestLevels,
  address: bigint | "direct",
  switches: Parameters<typeof TestMachine.running>[0]["switches"] = {},
): TestMachine {
  const machine = new TestMachine({ levels, switches: { prefetch: false, ...switches } });
  const { tables } = machine;
  if (address !== "direct") tables.map(address, PAGE, KERNEL_PAGE);
  tables.link(BELOW, 2, PAGE);
  tables.write(PAGE * 4096, entryOf(0x90, USER_PAGE));
  machine.cpu.boot();
  machine.cpu.write(address === "direct" ? machine.direct(PAGE * 4096 + 8) : address + 8n, 0n);
  return machine;
}

/** What a machine counts while the page becomes a table. */
function revocations(machine: TestMachine): Record<string, number> {
  const names = ["h_1", "h_2", "h_3", "h_4", "h_5", "h_6", "bf"] as const;
  const before = names.map((name) => machine.count(`writeable_${name}`));
  const whole = machine.count("writeable");
  machine.cpu.read(BELOW);
  const counts: Record<string, number> = { all: machine.count("writeable") - whole };
  for (const [index, name] of names.entries()) {
    const count = machine.count(`writeable_${name}`) - (before[index] ?? 0);
    if (count !== 0) counts[name] = count;
  }
  return counts;
}

describe.each(FORMATS)("revocation with %i levels", (levels) => {
  const odd = 0x4000_0000n + 0x5000n;

  test("finds the writer in the 1–1 map by guess", () => {
    const machine = withWriter(levels, "direct");
    expect(revocations(machine)).toEqual({ all: 1, h_4: 1 });
    expect(machine.finish()).toEqual([]);
  });

  test("scans every leaf table when no guess is right, and remembers where it found the writer", () => {
    const machine = withWriter(levels, odd);
    expect(revocations(machine)).toEqual({ all: 1, bf: 1 });
    const remembered = machine.cpu.register(VcpuCell.lastWritableShadow);
    const leaf = machine.tables.tableAt(odd, 1);
    expect(remembered).toBe(machine.shadowOf(leaf, [0, 0, 1, 4, 7][levels] ?? 0));
    expect(machine.finish()).toEqual([]);
  });

  test("looks first where it found a writer last", () => {
    const machine = withWriter(levels, odd);
    revocations(machine);
    machine.tables.write(machine.tables.entryAt(odd + 0x1000n, 1), entryOf(0x81, KERNEL_PAGE));
    machine.cpu.write(odd + 0x1000n, 0n);
    machine.cpu.writeEntry(machine.tables.entryAt(BELOW, 2), entryOf(0x81, USER_PAGE));
    machine.cpu.write(odd + 0x1000n, entryOf(0x90, USER_PAGE), levels === 2 ? 4 : 8);
    expect(revocations(machine)).toEqual({ all: 1, h_5: 1 });
    expect(machine.finish()).toEqual([]);
  });

  test.each([
    { without: "writable-heuristic", address: "direct", counts: { all: 1, bf: 1 } },
    { without: "last-writable-hint", address: odd, counts: { all: 1, bf: 1 } },
  ] as const)("does without $without when it is switched off", ({ without, address, counts }) => {
    const machine = withWriter(levels, address, { [without]: false });
    expect(revocations(machine)).toEqual(counts);
    expect(machine.finish()).toEqual([]);
  });

  test("takes RW from every mapping, also those through large pages, and leaves the mappings", () => {
    const machine = withWriter(levels, odd);
    const { cpu, frames } = { cpu: machine.cpu, frames: machine.shadow.frames };
    cpu.write(machine.direct(PAGE * 4096 + 16), 0n);
    const frame = machine.frame(PAGE);
    expect([frames.typecount(frame), frames.count(frame)]).toEqual([2, 3]);
    cpu.read(BELOW);
    expect([frames.typecount(frame), frames.count(frame)]).toEqual([0, 4]);
    expect(machine.finish()).toEqual([]);
  });

  test("flushes every vCPU, and not when there was nothing to revoke", () => {
    const machine = withWriter(levels, odd);
    expect(machine.countWhile("rm_write_flush_tlb", () => machine.cpu.read(BELOW))).toBe(1);
    machine.cpu.invlpg(BELOW);
    expect(machine.countWhile("rm_write_flush_tlb", () => machine.cpu.read(BELOW + 0x1000n - 4n))).toBe(0);
    expect(machine.finish()).toEqual([]);
  });

  test("crashes the domain when a writer cannot be found, unless it may fail", () => {
    const machine = TestMachine.running({ levels });
    const frame = machine.frame(PAGE);
    const { frames, domain } = machine.shadow;
    machine.locked(({ revocation }) => {
      frames.setTypecount(frame, 1);
      frames.setPageType(frame, 1);
      expect(revocation.revokeWriteAccess(frame, 0, 0, 0)).toBe(Revoked.failed);
      expect(domain.isCrashed()).toBe(false);
      expect(revocation.revokeWriteAccess(frame, 1, 0, 0)).toBe(Revoked.flush);
      expect(domain.crashMessage()).toMatch("could not be found");
    });
    expect(
      machine.machine.memory.loadWord(machine.machine.layout.regions.domain.offset + DomainCell.crashed),
    ).toBe(CrashReason.unfindableWritableMapping);
    expect(machine.count("writeable_bf_1")).toBe(1);
  });
});

test.each([
  { levels: 2, base: 0xbfc0_0000n, shift: 10n, name: "h_6" },
  { levels: 3, base: 0xbf80_0000n, shift: 9n, name: "h_6" },
  { levels: 4, base: 0xffff_f680_0000_0000n, shift: 9n, name: "h_3" },
  { levels: 4, base: 0xffff_8000_0000_0000n, shift: 9n, name: "h_6" },
] as const)(
  "the writer in the linear map at $base of $levels levels is guessed",
  ({ levels, base, shift, name }) => {
    const machine = withWriter(levels, base + ((BELOW >> shift) & ~0xfffn));
    expect(revocations(machine)).toEqual({ all: 1, [name]: 1 });
    expect(machine.finish()).toEqual([]);
  },
);

test.each([
  { levels: 2, shift: 10n, name: "h_1" },
  { levels: 3, shift: 9n, name: "h_2" },
] as const)(
  "the writer in the linear map of Windows with $levels levels is guessed",
  ({ levels, shift, name }) => {
    // Where it would be, the 1–1 map shows memory: what lies there is mapped to the table instead.
    const machine = withWriter(levels, 0x4000_5000n);
    const at = 0xc000_0000n + ((BELOW >> shift) & ~0xfffn);
    expect(at - machine.direct(0)).toBeLessThan(0x20_0000n);
    const { tables } = machine;
    const table = machine.takePage();
    for (let gfn = 0; gfn < 256; gfn++)
      tables.write(table * 4096 + gfn * (levels === 2 ? 4 : 8), entryOf(gfn, KERNEL_PAGE));
    const slot = Number((at - machine.direct(0)) >> 12n);
    tables.write(table * 4096 + slot * (levels === 2 ? 4 : 8), entryOf(PAGE, KERNEL_PAGE));
    const entry = tables.entryAt(0xc000_0000n, 2);
    machine.cpu.writeEntry(entry, entryOf(table, KERNEL_PAGE));
    machine.cpu.writeEntry(tables.entryAt(0x4000_5000n, 1), 0n);
    machine.cpu.invlpg(0x4000_5000n);
    machine.cpu.write(at + 8n, 0n);
    expect(revocations(machine)).toEqual({ all: 1, [name]: 1 });
    expect(machine.finish()).toEqual([]);
  },
);

test.each(FORMATS)(
  "a root loses its writers when CR3 is loaded, by guess in the tree that is left (%i levels)",
  (levels) => {
    const machine = new TestMachine({ levels, switches: { prefetch: false } });
    const other = machine.newTables();
    const root = levels === 3 ? other.tableAt(0n, 2) : other.root;
    machine.cpu.boot();
    machine.cpu.write(machine.direct(root * 4096 + 4088), 0n);
    const before = machine.count("writeable_h_4");
    machine.cpu.cr3(other.cr3);
    expect(machine.count("writeable_h_4") - before).toBe(1);
    expect(machine.findings()).toEqual([]);
    machine.cpu.write(machine.direct(root * 4096 + 4088), 0n);
    expect(machine.count("fault_emulate_write")).toBe(1);
    expect(machine.finish()).toEqual([]);
  },
);

test("entries above the leaf that lack RW do not hide a writer that the leaf lets write", () => {
  const machine = withWriter(4, 0x4000_5000n);
  machine.cpu.writeEntry(
    machine.tables.entryAt(0x4000_5000n, 2),
    entryOf(machine.tables.tableAt(0x4000_5000n, 1), Bit.p | Bit.u | Bit.a),
  );
  machine.cpu.read(BELOW);
  expect(machine.shadow.frames.typecount(machine.frame(PAGE))).toBe(0);
  expect(machine.finish()).toEqual([]);
});
