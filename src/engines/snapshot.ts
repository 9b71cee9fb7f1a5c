/**
 * `umbra snapshot verify`: recorded tables become a guest, every mapping of a listing is shadowed by touching it, and
 * the shadows are held against what the listing's bits ask for.
 */
/* oxlint-disable no-await-in-loop -- the pauses are for whatever else the thread has to do */
import { setImmediate as breathe } from "node:timers/promises";
import { hex64 } from "../guest/trace/address.ts";
import { shadowLeaf } from "../hypervisor/shadow/shadow-leaf.ts";
import { Machine } from "../hypervisor/machine.ts";
import type { HostedVcpu } from "../hypervisor/machine.ts";
import type { MachineConfig } from "../hypervisor/machine-config.ts";
import { Cr4, Efer } from "../machine/control-registers.ts";
import { Status } from "../machine/exits.ts";
import { PAGE_BYTES, vcpuId } from "../memory/units.ts";
import type { SnapshotResult } from "../report/types.ts";
import { UsageError } from "./errors.ts";
import { DEFAULT_PRESET, machineRequest, requestedMachine } from "./machine-settings.ts";
import type { MachineRequest } from "./machine-settings.ts";
import { RealClock } from "./real-clock.ts";
import { deviceShadow, largeShadowFlags, leafShadow } from "./snapshot/expected-shadow.ts";
import type { Entry, ShadowRules } from "./snapshot/expected-shadow.ts";
import { readListing } from "./snapshot/listing.ts";
import type { ListedMapping } from "./snapshot/listing.ts";
import { readRegisters } from "./snapshot/recorded-registers.ts";
import type { RecordedCpu } from "./snapshot/recorded-registers.ts";
import { RecordedTables } from "./snapshot/recorded-tables.ts";
import type { RecordedWalk } from "./snapshot/recorded-tables.ts";
import { auditAtRest } from "./stress/audit.ts";
import { wholeNumber } from "./usage.ts";

const SHOWN_MAX = 10;
const MAPPINGS_BETWEEN_BREATHS = 256;
const CPU_MAX = 1023;
const PAGE_SHIFT = 12n;
const FLAGS_LOW = 0xfff;
const FLAGS_HIGH = 1 << 31;
/** Bytes that one level 2 shadow entry maps. */
const LEVEL2_BYTES = 0x20_0000;
/** Bits of an address that tables translate, in every format. */
const ADDRESS_BITS = 48;
/** Pool pages for each table and each large page, generously, so that no shadow is given up before it was looked at. */
const POOL_PAGES_EACH = 4;

/** A comparison as people ask for it: texts of the command line. */
export interface SnapshotRequest {
  readonly tables: string;
  readonly regs: string;
  readonly listing: string;
  readonly cpu: string;
  readonly preset?: string | undefined;
}

/**
 * Shadows and compares. Pauses now and then, so that a signal is heard.
 *
 * @throws UsageError for bad input and for what cannot be asked.
 */
export async function verifySnapshot(request: SnapshotRequest): Promise<SnapshotResult> {
  const { request: machineWish } = machineRequest(request.preset ?? DEFAULT_PRESET, []);
  return new Snapshot(request, machineWish).verify();
}

/** A line of the listing with what the recorded tables say of its address. */
interface Mapping extends ListedMapping, RecordedWalk {
  readonly bytes: number;
}

/** What the recorded tables map and no line of the listing names: how much, and the first of it in words. */
interface Unlisted {
  readonly count: number;
  readonly first: readonly string[];
}

class Snapshot {
  readonly #request: SnapshotRequest;
  readonly #wish: MachineRequest;
  readonly #cpu: number;
  readonly #registers: RecordedCpu;
  readonly #recorded: RecordedTables;
  readonly #mappings: readonly Mapping[];
  readonly #unlisted: Unlisted;
  readonly #pagetables: ReadonlySet<number>;
  readonly #config: MachineConfig;
  readonly #machine: Machine;
  readonly #hosted: HostedVcpu;
  readonly #rules: ShadowRules;
  readonly #differing = new Map<Mapping, string>();
  #pieces = 0;

  constructor(request: SnapshotRequest, wish: MachineRequest) {
    this.#request = request;
    this.#wish = wish;
    this.#cpu = wholeNumber("--cpu", request.cpu, { min: 0, max: CPU_MAX });
    this.#recorded = new RecordedTables(request.tables);
    this.#registers = readRegisters(request.regs, this.#cpu);
    if (this.#registers.levels !== this.#recorded.levels) {
      throw new UsageError(
        `${request.regs}: field "mode" is ${this.#registers.levels}, but ${request.tables} has tables of ` +
          `${this.#recorded.levels} levels`,
      );
    }
    this.#mappings = readListing(request.listing).map((listed) => this.#locate(listed));
    this.#unlisted = this.#findUnlisted();
    this.#pagetables = this.#findPagetables();
    this.#config = this.#planMachine();
    this.#rules = {
      hasNoExecute: this.#recorded.levels > 2 && (this.#registers.efer & BigInt(Efer.nxe)) !== 0n,
      hasMagic: this.#config.switches["fast-fault-path"],
    };
    this.#machine = Machine.create(this.#config, new RealClock());
    this.#loadTables();
    this.#hosted = this.#machine.createVcpu(vcpuId(0), new RealClock());
  }

  async verify(): Promise<SnapshotResult> {
    const { vcpu } = this.#hosted;
    vcpu.start();
    this.#loadRegisters();
    await this.#forEach((mapping) => this.#touch(mapping));
    await this.#forEach((mapping) => this.#compare(mapping));
    vcpu.stop();
    const { tables, regs, listing } = this.#request;
    const files = `${tables} --regs ${regs} --info-tlb ${listing} --cpu ${this.#cpu}`;
    return {
      engine: "snapshot",
      command: `umbra snapshot verify ${files} --preset ${this.#wish.preset}`,
      tables,
      regs,
      listing,
      cpu: this.#cpu,
      levels: this.#recorded.levels,
      preset: this.#wish.preset,
      switches: this.#config.switches,
      mappings: this.#mappings.length,
      differences: this.#differing.size,
      unlisted: this.#unlisted.count,
      pieces: this.#pieces,
      largePages: this.#mappings.filter(({ level }) => level > 1).length,
      devices: this.#mappings.filter((mapping) => this.#isDevice(mapping)).length,
      tablePages: this.#pagetables.size,
      violations: [...vcpu.findings, ...auditAtRest(this.#machine)],
      first: [...this.#differing.values(), ...this.#unlisted.first].slice(0, SHOWN_MAX),
    };
  }

  async #forEach(visit: (mapping: Mapping) => void): Promise<void> {
    for (const [index, mapping] of this.#mappings.entries()) {
      if (index % MAPPINGS_BETWEEN_BREATHS === 0) await breathe();
      visit(mapping);
    }
  }

  #locate(listed: ListedMapping): Mapping {
    const { levels } = this.#recorded;
    const walk = this.#recorded.walk(this.#registers.cr3, listed.address, this.#hasLargePages());
    const bytes = PAGE_BYTES * 2 ** ((levels === 2 ? 10 : 9) * Math.max(0, walk.level - 1));
    return { ...listed, ...walk, bytes };
  }

  #hasLargePages(): boolean {
    return this.#recorded.levels > 2 || (this.#registers.cr4 & BigInt(Cr4.pse)) !== 0n;
  }

  #findUnlisted(): Unlisted {
    const listed = new Set(this.#mappings.map(({ address }) => BigInt.asUintN(ADDRESS_BITS, address)));
    const { tables, listing } = this.#request;
    const first: string[] = [];
    let count = 0;
    for (const address of this.#recorded.leaves(this.#registers.cr3, this.#hasLargePages())) {
      if (listed.has(address)) continue;
      count++;
      if (first.length === SHOWN_MAX) continue;
      // As the listing would write it: the tables' own upper bits follow bit 47.
      const canonical = BigInt.asUintN(64, BigInt.asIntN(ADDRESS_BITS, address));
      first.push(
        `${listing}: has no line for ${hexOf(canonical)}, which ${tables} maps for CPU ${this.#cpu}`,
      );
    }
    return { count, first };
  }

  /** Which pages are pagetables once all was touched: the roots, and every table on the way to a mapping. */
  #findPagetables(): Set<number> {
    const roots = this.#recorded.paeRoots(this.#registers.cr3);
    const walked = this.#mappings.filter(({ level }) => level !== 0).flatMap(({ tables }) => tables);
    return new Set([...roots, ...walked]);
  }

  #planMachine(): MachineConfig {
    const { pages } = this.#recorded;
    const ramPages = this.#registers.ramBytes / PAGE_BYTES;
    for (const frame of pages.keys()) {
      if (frame < ramPages) continue;
      throw new UsageError(
        `${this.#request.tables}: field "gfn" 0x${frame.toString(16)} is beyond the ${this.#registers.ramBytes} ` +
          `bytes of ${this.#request.regs}`,
      );
    }
    const large = this.#mappings.filter(({ level }) => level > 1).length;
    const config = requestedMachine(this.#wish, { vcpus: 1, ramPages });
    const poolPages = config.poolPages + POOL_PAGES_EACH * (pages.size + large);
    return { ...config, poolPages, poolPagesMax: poolPages };
  }

  #loadTables(): void {
    const ram = this.#machine.guestRam();
    for (const [frame, page] of this.#recorded.pages) {
      for (let offset = 0; offset < PAGE_BYTES; offset += 4) {
        ram.writeWord(frame * PAGE_BYTES + offset, page.readInt32LE(offset));
      }
    }
  }

  /** CR3 may be written while paging is off; paging goes on last. */
  #loadRegisters(): void {
    const { vcpu } = this.#hosted;
    const { cr0, cr3, cr4, efer } = this.#registers;
    this.#accept("cr4", vcpu.writeCr4(low(cr4)));
    this.#accept("efer", vcpu.writeEfer(low(efer)));
    this.#accept("cr3", vcpu.writeCr3(low(cr3), high(cr3)));
    this.#accept("cr0", vcpu.writeCr0(low(cr0)));
    vcpu.setPrivilege(0, true, true);
  }

  #accept(name: string, status: number): void {
    if (status === Status.done) return;
    throw new UsageError(
      `${this.#request.regs}: field "cpus[${this.#cpu}].${name}" is refused: ` +
        (this.#machine.domain.crashMessage() || "it raises #GP"),
    );
  }

  /** Reads a byte of every 4 KiB piece, as the supervisor. */
  #touch(mapping: Mapping): void {
    const { vcpu } = this.#hosted;
    if (mapping.level === 0) {
      this.#differ(mapping, `${this.#request.tables} does not map the address for CPU ${this.#cpu}`);
      return;
    }
    for (let offset = 0; offset < mapping.bytes; offset += PAGE_BYTES) {
      const address = mapping.address + BigInt(offset);
      const status = vcpu.load(low(address), high(address), 1);
      this.#pieces++;
      const wanted = Number((mapping.physical + BigInt(offset)) >> PAGE_SHIFT);
      if (mapping.level === 3) {
        // Shadow mode has no pages of 1 GiB: PS is a reserved bit there.
        if (status !== Status.pageFault) this.#differ(mapping, "a page of 1 GiB is not refused");
        return;
      }
      if (status !== Status.done) this.#differ(mapping, `the read of ${hexOf(address)} is refused`);
      else if (this.#frame() !== wanted) {
        const got = `0x${this.#frame().toString(16)}`;
        this.#differ(mapping, `${hexOf(address)} leads to frame ${got}, not 0x${wanted.toString(16)}`);
      }
    }
  }

  #frame(): number {
    const { vcpu, shadow } = this.#hosted;
    return vcpu.frame < 0 ? vcpu.deviceFrame : shadow.frames.back(shadow.frameOrNone(vcpu.frame));
  }

  #compare(mapping: Mapping): void {
    const { shadow } = this.#hosted;
    if (mapping.level === 0 || mapping.level === 3) return;
    const step = mapping.level === 1 ? PAGE_BYTES : LEVEL2_BYTES;
    for (let offset = 0; offset < mapping.bytes; offset += step) {
      const address = mapping.address + BigInt(offset);
      const found = shadowLeaf(shadow, low(address), high(address));
      if (found === undefined) {
        this.#differ(mapping, `${hexOf(address)} has no leaf shadow`);
        continue;
      }
      if (mapping.level === 1) {
        this.#compareEntry(mapping, "leaf shadow", found.leaf, this.#expectedLeaf(mapping));
      } else {
        const got = { low: found.level2.low & FLAGS_LOW, high: found.level2.high & FLAGS_HIGH };
        const at = `flags of the level 2 shadow entry for ${hexOf(address)}`;
        this.#compareEntry(mapping, at, got, largeShadowFlags(mapping, this.#rules));
      }
    }
  }

  #expectedLeaf(mapping: Mapping): Entry {
    const gfn = Number(mapping.physical >> PAGE_SHIFT);
    if (this.#isDevice(mapping)) return deviceShadow(mapping, gfn, this.#rules);
    const target = { frame: this.#machine.p2m.frameOf(gfn), isPagetable: this.#pagetables.has(gfn) };
    return leafShadow(mapping, target, this.#rules);
  }

  #compareEntry(mapping: Mapping, what: string, got: Entry, wanted: Entry): void {
    if (got.low === wanted.low && got.high === wanted.high) return;
    this.#differ(mapping, `${what} is ${hex64(got.low, got.high)}, not ${hex64(wanted.low, wanted.high)}`);
  }

  #isDevice({ physical }: ListedMapping): boolean {
    return physical >= BigInt(this.#registers.ramBytes);
  }

  /** Notes the first thing that is wrong with a mapping. */
  #differ(mapping: Mapping, what: string): void {
    if (this.#differing.has(mapping)) return;
    this.#differing.set(mapping, `${this.#request.listing}:${mapping.line}: ${mapping.text}: ${what}`);
  }
}

function low(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

function high(value: bigint): number {
  return Number(BigInt.asIntN(32, value >> 32n));
}

function hexOf(address: bigint): string {
  return `0x${address.toString(16)}`;
}
