/** What becomes of an access to a page, by the page's type: every type, every access, both modes (spec 12.5). */
import { afterEach, describe, expect, test } from "vitest";
import { P2mType, p2mTypeName } from "../../src/hypervisor/p2m-type.ts";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import type { PresetName } from "../../src/hypervisor/machine-config.ts";
import { registerValue } from "../../src/hypervisor/device.ts";
import { Status } from "../../src/machine/exits.ts";
import { FORMATS, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { Backing, giveType } from "./page-types.ts";
import { TestMachine, whileWaiting } from "./test-machine.ts";
import type { Access } from "./test-machine.ts";

const ADDRESS = 0x1000_0000n;
/** Mapped by a table of its own, which is what the test gives a type. */
const FAR = 0x2000_0000n;
const PAGE = 0x80;
const OTHER = 0x81;
const FIRST = 0x1111_1111n;
const SECOND = 0x2222_2222n;
const AWAY = [P2mType.pagingOut, P2mType.paged, P2mType.pagingIn] as const;
const KEEPS_BYTES: ReadonlySet<number> = new Set([
  P2mType.ramRw,
  P2mType.ramRo,
  P2mType.ramLogdirty,
  ...AWAY,
]);

interface Mode {
  readonly mode: string;
  readonly preset: PresetName;
  readonly paging: "shadow" | "hap";
  /** The eras differ in what they do without the lock, formats in their tables: not every pair of the two. */
  readonly formats: readonly GuestLevels[];
}

const MODES: readonly Mode[] = [
  { mode: "talk-before", preset: "talk-before", paging: "shadow", formats: [4] },
  { mode: "talk", preset: "talk", paging: "shadow", formats: [4] },
  { mode: "xen-3.3", preset: "xen-3.3", paging: "shadow", formats: FORMATS },
  { mode: "umbra", preset: "umbra", paging: "shadow", formats: [4] },
  { mode: "hap", preset: "talk", paging: "hap", formats: FORMATS },
];

/** A page's type, and where. */
interface Case {
  readonly mode: string;
  readonly preset: PresetName;
  readonly paging: "shadow" | "hap";
  readonly levels: GuestLevels;
  readonly type: number;
  readonly page: string;
}

const CASES: readonly Case[] = MODES.flatMap(({ mode, preset, paging, formats }) =>
  formats.flatMap((levels) =>
    Object.values(P2mType).map((type) => ({ mode, preset, paging, levels, type, page: p2mTypeName(type) })),
  ),
);
const isMemory = ({ type }: Case): boolean => KEEPS_BYTES.has(type);
/** What the guest cannot tell from memory: also what is all zero once it is used. */
const SHADOWED_CASES = CASES.filter(({ paging, type }) => paging === "shadow" && type !== P2mType.ramRw);
const HAP_CASES = CASES.filter((each) => each.paging === "hap" && isMemory(each));

/** A machine on which both vCPUs have used every mapping, and a pager that answers while somebody waits. */
class TypedMachine extends TestMachine {
  readonly #backing: Backing;

  constructor({ levels, preset, paging }: Case) {
    super({ levels, vcpus: 2, paging, ramPages: 160, switches: PRESETS[preset] });
    this.tables.map(ADDRESS - 4096n, OTHER, USER_PAGE);
    this.tables.map(ADDRESS, PAGE, USER_PAGE);
    this.tables.map(ADDRESS + 4096n, OTHER, USER_PAGE);
    this.tables.map(FAR, PAGE, USER_PAGE);
    for (const cpu of this.cpus) cpu.boot();
    this.cpu.write(ADDRESS, FIRST);
    for (const cpu of this.cpus) {
      cpu.write(ADDRESS - 4n, 0n);
      cpu.write(ADDRESS + 4096n, 0n);
      cpu.write(ADDRESS + 8n, 0n);
      cpu.read(FAR);
    }
    this.#backing = new Backing(this.toolstack);
    whileWaiting(() => this.#backing.serve());
  }

  /** Gives a page a type. */
  retype(gfn: number, type: number): void {
    if (type === P2mType.paged) this.#backing.pageOut(gfn);
    else giveType(this.toolstack, gfn, type);
  }

  typeOf(gfn: number): number {
    return this.toolstack.types.typeOf(gfn);
  }
}

afterEach(() => {
  whileWaiting(null);
});

/** What the first word of a page of a type reads as. */
function valueOf(type: number): bigint {
  if (type === P2mType.mmioDm) return BigInt(registerValue(PAGE, 0) >>> 0);
  return KEEPS_BYTES.has(type) ? FIRST : 0n;
}

/** The type that a page has once it was used. */
function typeAfter({ type, paging }: Case, isWritten: boolean): number {
  const isBroughtBack = type >= P2mType.populateOnDemand;
  const isNoted = type === P2mType.ramLogdirty && isWritten && paging === "hap";
  return isBroughtBack || isNoted ? P2mType.ramRw : type;
}

function takesWrites(type: number): boolean {
  return type !== P2mType.mmioDm && type !== P2mType.ramRo;
}

/** What a load comes to: the value, or the error code of the page fault as a negative number less one. */
function outcome({ status, value, errorCode }: Access): bigint {
  return status === Status.done ? value : -1n - BigInt(errorCode);
}

const NOT_PRESENT = -1n;

describe.each(CASES)("$mode, $levels levels, $page", (each) => {
  const { type, levels, paging } = each;

  test("a read finds what the type says", () => {
    const machine = new TypedMachine(each);
    machine.retype(PAGE, type);
    for (const cpu of machine.cpus) expect(outcome(cpu.load(ADDRESS))).toBe(valueOf(type));
    expect(outcome(machine.cpu.fetch(ADDRESS, 4))).toBe(valueOf(type));
    expect(machine.typeOf(PAGE)).toBe(typeAfter(each, false));
    expect(machine.finish()).toEqual([]);
  });

  test("a write lands, or does not, and nobody sees anything else", () => {
    const machine = new TypedMachine(each);
    machine.retype(PAGE, type);
    const discarded = machine.countWhile("discarded_writes", () => {
      machine.cpu.write(ADDRESS, 0x77n);
      machine.cpuAt(1).write(ADDRESS + 2n, 0x88n, 2);
    });
    const due = takesWrites(type) ? 0x0088_0077n : valueOf(type);
    for (const cpu of machine.cpus) expect(outcome(cpu.load(ADDRESS))).toBe(due);
    expect(discarded).toBe(type === P2mType.ramRo ? 2 : 0);
    expect(machine.typeOf(PAGE)).toBe(typeAfter(each, true));
    expect(machine.finish()).toEqual([]);
  });

  test("a compare-exchange says what it found, and stores only where a write lands", () => {
    const machine = new TypedMachine(each);
    machine.retype(PAGE, type);
    const found = valueOf(type);
    expect(machine.cpu.exchange(ADDRESS, found ^ 1n, 5n)).toMatchObject({ exchanged: false, value: found });
    const isDevice = type === P2mType.mmioDm;
    expect(machine.cpu.exchange(ADDRESS, found, 5n)).toMatchObject({ exchanged: !isDevice, value: found });
    expect(outcome(machine.cpuAt(1).load(ADDRESS))).toBe(takesWrites(type) ? 5n : found);
    expect(machine.findings()).toEqual([]);
  });

  test("of an access to two pages each does what its own type says", () => {
    const machine = new TypedMachine(each);
    machine.retype(PAGE, type);
    machine.cpu.write(ADDRESS - 2n, 0xaabb_ccddn);
    machine.cpu.write(ADDRESS + 4094n, 0x1122_3344n);
    const lower = takesWrites(type) ? 0xaabbn : BigInt.asUintN(16, valueOf(type));
    const other = machine.cpuAt(1);
    expect(outcome(other.load(ADDRESS - 2n, 2))).toBe(0xccddn);
    expect(outcome(other.load(ADDRESS + 4096n, 2))).toBe(0x1122n);
    expect(outcome(other.load(ADDRESS, 2))).toBe(lower);
    expect(outcome(machine.cpu.load(ADDRESS - 2n))).toBe((lower << 16n) | 0xccddn);
    expect(machine.findings()).toEqual([]);
  });

  test("a page that is a table is walked if it is memory, and maps nothing if it is not", () => {
    const machine = new TypedMachine(each);
    const table = machine.tables.tableAt(FAR, 1);
    machine.retype(table, type);
    for (const cpu of machine.cpus) expect(outcome(cpu.load(FAR))).toBe(isMemory(each) ? FIRST : NOT_PRESENT);
    expect(machine.typeOf(table)).toBe(typeAfter(each, false));
    expect(machine.finish()).toEqual([]);
  });

  test("a write to a page that is a table changes what is mapped exactly if it lands", () => {
    const machine = new TypedMachine(each);
    const at = machine.tables.entryAt(FAR, 1);
    machine.cpu.write(ADDRESS + 4096n, SECOND);
    machine.cpu.writeEntry(at, entryOf(PAGE, USER_PAGE));
    machine.retype(Math.floor(at / 4096), type);
    machine.cpu.writeEntry(at, entryOf(OTHER, USER_PAGE));
    // A device's memory is walked by hardware only.
    const isWalked = type !== P2mType.mmioDm && (type !== P2mType.mmioDirect || paging === "hap");
    const found = takesWrites(type) ? SECOND : FIRST;
    for (const cpu of machine.cpus) {
      cpu.invlpg(FAR);
      expect(outcome(cpu.load(FAR))).toBe(isWalked ? found : NOT_PRESENT);
    }
    const named = outcome(machine.cpu.load(machine.direct(at), entryBytes(levels))) >> 12n;
    expect(type === P2mType.mmioDm || named === BigInt(takesWrites(type) ? OTHER : PAGE)).toBe(true);
    expect(machine.finish()).toEqual([]);
  });
});

test.each(CASES.filter((each) => isMemory(each)))(
  "$mode, $levels levels, $page: the A and D of an entry are set whatever the type of its table",
  (each) => {
    const machine = new TypedMachine(each);
    const at = machine.tables.entryAt(FAR, 1);
    machine.cpu.writeEntry(at, entryOf(PAGE, 7n));
    for (const cpu of machine.cpus) cpu.invlpg(FAR);
    machine.retype(Math.floor(at / 4096), each.type);
    machine.cpu.write(FAR, 0x99n);
    expect(outcome(machine.cpuAt(1).load(ADDRESS))).toBe(0x99n);
    expect(machine.tables.read(at) & 0x67n).toBe(0x67n);
    expect(machine.findings()).toEqual([]);
  },
);

test.each(SHADOWED_CASES)(
  "$mode, $levels levels, $page: a change of the root that a vCPU runs on ends the domain",
  (each) => {
    const machine = new TypedMachine(each);
    machine.retype(each.levels === 3 ? machine.tables.tableAt(0n, 2) : machine.tables.root, each.type);
    expect(machine.machine.domain.crashMessage()).toMatch(
      /had to be unshadowed that is the root some vCPU runs on/,
    );
    for (const cpu of machine.cpus) expect(cpu.cr3(machine.tables.cr3)).toBe(Status.stopped);
    expect(machine.teardown()).toEqual([]);
  },
);

test.each(HAP_CASES)(
  "$mode, $levels levels, $page: a change of the root is nothing special where hardware walks it",
  (each) => {
    const machine = new TypedMachine(each);
    machine.retype(machine.tables.root, each.type);
    for (const cpu of machine.cpus) expect(outcome(cpu.load(ADDRESS))).toBe(FIRST);
    expect(machine.finish()).toEqual([]);
  },
);
