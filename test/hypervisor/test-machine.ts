/** A machine with a guest whose vCPUs all run on this thread, taking turns between their operations. */
import type { DomainControl } from "../../src/hypervisor/domain-control.ts";
import { Machine } from "../../src/hypervisor/machine.ts";
import type { GuestMemory } from "../../src/hypervisor/guest-memory.ts";
import type { HostedVcpu } from "../../src/hypervisor/machine.ts";
import { PRESETS, machineConfig } from "../../src/hypervisor/machine-config.ts";
import type { MachineConfig, Switches } from "../../src/hypervisor/machine-config.ts";
import type { Shadow } from "../../src/hypervisor/shadow/shadow.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { Cr0, Cr4, Efer } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import type { Exits } from "../../src/machine/exits.ts";
import type { Finding, Vcpu } from "../../src/machine/vcpu.ts";
import { COUNTER_WORDS, Counter } from "../../src/memory/counters.ts";
import type { CounterName } from "../../src/memory/counters.ts";
import { mfn, vcpuId } from "../../src/memory/units.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { Doorbell, VcpuCell, VcpuState, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { Waiter } from "../../src/memory/wait.ts";
import { auditMachine } from "../../src/checks/audit.ts";
import { GuestTables, KERNEL_PAGE, directBase, entryBytes } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";

/** More waits in a row than any answer takes: whoever is waited for does not come. */
const WAITS_MAX = 10_000;
/** More faults of one operation than any real one needs. */
const FAULTS_MAX = 1000;

/** The vCPUs of the machine at hand. Whoever waits lets the others do what they would do meanwhile. */
let onThisThread: readonly HostedVcpu[] = [];
let waits = 0;
let meanwhile: (() => unknown) | null = null;

/** What somebody who is no vCPU does whenever somebody waits; null: nothing. */
export function whileWaiting(act: (() => unknown) | null): void {
  meanwhile = act;
}

Waiter.prototype.waitWhile = (): void => {
  waits++;
  if (waits > WAITS_MAX) throw new Error("the wait does not end");
  for (const { vcpu } of onThisThread) {
    vcpu.mailbox.serve();
    // One that is asked to park does so between two operations, which is now; its next one lets it run again.
    const isAsked = (vcpu.memory.loadWord(vcpu.area + VcpuCell.doorbell) & Doorbell.park) !== 0;
    if (isAsked && vcpu.register(VcpuCell.state) === VcpuState.running)
      vcpu.mailbox.setState(VcpuState.parked);
  }
  const act = meanwhile;
  // What it waits for itself is the vCPUs' business.
  meanwhile = null;
  act?.();
  meanwhile = act;
};

/** What an access came to. */
export interface Access {
  readonly status: number;
  /** What was read. */
  readonly value: bigint;
  /** Whether a compare-exchange stored. */
  readonly exchanged: boolean;
  /** After a page fault: its error code and CR2. */
  readonly errorCode: number;
  readonly cr2: bigint;
}

export interface Setup extends Partial<Omit<MachineConfig, "switches">> {
  readonly levels: GuestLevels;
  /** Switches that differ from the preset `talk`. */
  readonly switches?: Partial<Switches>;
  /** First gfn of the pages that tables are made in. */
  readonly tablesFrom?: number;
}

/** A machine. Its guest has one tree, with all memory mapped one to one by a large page. */
export class TestMachine {
  readonly levels: GuestLevels;
  readonly machine: Machine;
  readonly toolstack: DomainControl;
  readonly ram: GuestMemory;
  readonly cpus: readonly TestCpu[];
  readonly tables: GuestTables;
  #nextPage: number;

  constructor(setup: Setup) {
    const { levels, switches, tablesFrom, ...config } = setup;
    const clock = { now: (): number => ++ticks };
    this.levels = levels;
    this.machine = Machine.create(
      machineConfig({
        vcpus: 1,
        ramPages: 256,
        poolPages: 256,
        ...config,
        switches: { ...PRESETS.talk, ...switches },
      }),
      clock,
    );
    this.ram = this.machine.guestRam();
    this.#nextPage = tablesFrom ?? 16;
    this.tables = this.newTables();
    this.toolstack = this.machine.createToolstack(clock);
    const { vcpus } = this.machine.config;
    this.cpus = Array.from(
      { length: vcpus },
      (_, id) => new TestCpu(this, this.machine.createVcpu(vcpuId(id), clock)),
    );
    onThisThread = this.cpus.map(({ hosted }) => hosted);
  }

  /** A machine whose vCPUs run with paging on. */
  static running(setup: Setup): TestMachine {
    const machine = new TestMachine(setup);
    for (const cpu of machine.cpus) cpu.boot();
    return machine;
  }

  /** The first vCPU. */
  get cpu(): TestCpu {
    return this.cpuAt(0);
  }

  cpuAt(index: number): TestCpu {
    const cpu = this.cpus[index];
    if (cpu === undefined) throw new Error(`there is no vCPU ${String(index)}`);
    return cpu;
  }

  /** The shadow mode of the first vCPU. */
  get shadow(): Shadow {
    return this.cpu.hosted.shadow;
  }

  /** The next page for a table. */
  takePage(): number {
    return this.#nextPage++;
  }

  /** Another tree, with all memory mapped one to one. */
  newTables(): GuestTables {
    const tables = new GuestTables(this.ram, this.levels, () => this.takePage());
    tables.mapLarge(directBase(this.levels), 0, KERNEL_PAGE);
    return tables;
  }

  /** Linear address at which the 1–1 map shows a guest physical address. */
  direct(at: number): bigint {
    return directBase(this.levels) + BigInt(at);
  }

  /** Machine frame of a gfn. */
  frame(gfn: number): Mfn {
    return this.machine.p2m.frameOf(gfn);
  }

  /** The shadow of a gfn as a type, 0 when there is none. */
  shadowOf(gfn: number, type: number): Mfn {
    return this.locked((shadow) => shadow.hash.lookup(this.frame(gfn), type));
  }

  /** What the counters of all vCPUs say together. */
  count(name: CounterName): number {
    const { memory, layout, config } = this.machine;
    let sum = 0;
    for (let id = 0; id <= config.vcpus; id++)
      sum += memory.loadPrivate(layout.regions.counters.offset + id * COUNTER_WORDS + Counter[name]) >>> 0;
    return sum;
  }

  /** By how much a counter grows while something is done. */
  countWhile(name: CounterName, act: () => unknown): number {
    const before = this.count(name);
    act();
    return this.count(name) - before;
  }

  /** Does something under the paging lock, as vCPU 0. */
  locked<T>(act: (shadow: Shadow) => T): T {
    const { shadow } = this;
    shadow.lock.acquire(LockSite.test);
    const result = act(shadow);
    shadow.lock.release();
    return result;
  }

  /** Everything that is wrong now, in the model's own words and the audit's. */
  findings(): string[] {
    const found: Finding[] = [...this.toolstack.findings, ...this.cpus.flatMap(({ vcpu }) => vcpu.findings)];
    return [...found, ...this.audit()].map(({ check, message }) => `${check}: ${message}`);
  }

  /** Audits, with the TLBs as they are: to park in earnest would empty them. */
  audit(): Finding[] {
    const states = this.cpus.map(({ vcpu }) => vcpu.area + VcpuCell.state);
    const { memory } = this.machine;
    const before = states.map((cell) => memory.loadWord(cell));
    for (const [index, cell] of states.entries())
      if (before[index] === VcpuState.running) memory.storeWord(cell, VcpuState.parked);
    const findings = auditMachine(this.machine);
    for (const [index, cell] of states.entries()) memory.storeWord(cell, before[index] ?? 0);
    return findings;
  }

  /** Everything that is wrong now and whatever is left over when the domain has been taken apart. */
  finish(): string[] {
    return [...this.findings(), ...this.teardown()];
  }

  /** Ends every vCPU and takes the domain apart; what is left over, in words. */
  teardown(): string[] {
    for (const { vcpu, hosted } of this.cpus) {
      vcpu.stop();
      hosted.paging.teardownVcpu();
    }
    return this.toolstack.teardown();
  }

  /** A word of the memory of the machine. */
  word(frame: number, index: number): number {
    return this.machine.memory.loadWord((frame << 10) | index);
  }
}

/** One vCPU of a test machine. Its methods throw when the machine stops. */
export class TestCpu {
  readonly hosted: HostedVcpu;
  readonly vcpu: Vcpu;
  readonly #machine: TestMachine;
  #faults = 0;

  constructor(machine: TestMachine, hosted: HostedVcpu) {
    this.hosted = hosted;
    this.vcpu = hosted.vcpu;
    this.#machine = machine;
    this.vcpu.exits = this.#guarded(hosted.paging);
    this.vcpu.start();
    // What was asked of it before it ran is answered, so that audits take its TLB for what it is.
    this.vcpu.mailbox.setState(VcpuState.parked);
    this.vcpu.mailbox.setState(VcpuState.running);
  }

  /** Switches paging on in the order that processors ask for. */
  boot(tables = this.#machine.tables): void {
    const { levels } = this.#machine;
    this.cr4(Cr4.pge | (levels === 2 ? Cr4.pse : Cr4.pae));
    this.efer((levels === 4 ? Efer.lme : 0) | (levels === 2 ? 0 : Efer.nxe));
    this.cr3(tables.cr3);
    this.cr0(Cr0.pg | Cr0.wp | Cr0.pe);
  }

  /** Loads bytes. */
  load(address: bigint, size = 4): Access {
    return this.#access(this.vcpu.load(low(address), high(address), size));
  }

  /** Fetches bytes as an instruction. */
  fetch(address: bigint, size = 1): Access {
    return this.#access(this.vcpu.fetch(low(address), high(address), size));
  }

  /** Stores bytes. */
  store(address: bigint, value: bigint, size = 4): Access {
    return this.#access(this.vcpu.store(low(address), high(address), size, low(value), high(value)));
  }

  /** Compare-exchanges. */
  exchange(address: bigint, expected: bigint, value: bigint, size = 4): Access {
    this.vcpu.expectedLow = low(expected);
    this.vcpu.expectedHigh = high(expected);
    this.vcpu.valueLow = low(value);
    this.vcpu.valueHigh = high(value);
    return this.#access(this.vcpu.compareExchange(low(address), high(address), size));
  }

  /** Reads what must be readable. */
  read(address: bigint, size = 4): bigint {
    const { status, value } = this.load(address, size);
    if (status !== Status.done) throw new Error(`a load of 0x${address.toString(16)} faults`);
    return value;
  }

  /** Writes what must be writable. */
  write(address: bigint, value: bigint, size = 4): void {
    if (this.store(address, value, size).status !== Status.done)
      throw new Error(`a store to 0x${address.toString(16)} faults`);
  }

  /** Writes a pagetable entry through the 1–1 map. */
  writeEntry(at: number, entry: bigint): void {
    this.write(this.#machine.direct(at), entry, entryBytes(this.#machine.levels));
  }

  cr0(value: number): number {
    return this.#begin().writeCr0(value);
  }

  cr3(value: bigint): number {
    return this.#begin().writeCr3(low(value), high(value));
  }

  cr4(value: number): number {
    return this.#begin().writeCr4(value);
  }

  efer(value: number): number {
    return this.#begin().writeEfer(value);
  }

  invlpg(address: bigint): void {
    this.#begin().invlpg(low(address), high(address));
  }

  /** A control register, by `VcpuCell`. */
  register(cell: number): number {
    return this.vcpu.register(cell);
  }

  /** Accesses that follow are those of user mode. */
  enterUserMode(): void {
    this.vcpu.setPrivilege(3, false, false);
  }

  /** Accesses that follow are those of the kernel. */
  enterKernelMode(alignmentCheck = false): void {
    this.vcpu.setPrivilege(0, alignmentCheck, false);
  }

  /** Root slot `slot` of the vCPU: a frame, 0 for none. */
  root(slot = 0): Mfn {
    return mfn(this.#machine.machine.memory.loadGuarded(this.vcpu.area + VcpuCell.roots + slot));
  }

  #begin(): Vcpu {
    waits = 0;
    this.#faults = 0;
    return this.vcpu;
  }

  #access(status: number): Access {
    const { vcpu } = this;
    waits = 0;
    this.#faults = 0;
    return {
      status,
      value: unsigned(vcpu.resultLow) | (unsigned(vcpu.resultHigh) << 32n),
      exchanged: vcpu.exchanged,
      errorCode: vcpu.faultErrorCode,
      cr2: unsigned(vcpu.register(VcpuCell.cr2Low)) | (unsigned(vcpu.register(VcpuCell.cr2High)) << 32n),
    };
  }

  /** The same exits, but an operation that faults for ever is a failure, not a hang. */
  #guarded(exits: Exits): Exits {
    return {
      pageFault: (errorCode) => {
        this.#faults++;
        if (this.#faults > FAULTS_MAX) throw new Error("the operation faults for ever");
        return exits.pageFault(errorCode);
      },
      emulateNext: () => exits.emulateNext(),
      nestedFault: (frame) => {
        this.#faults++;
        if (this.#faults > FAULTS_MAX) throw new Error("the operation faults for ever");
        return exits.nestedFault(frame);
      },
      awaitRoot: (frame) => {
        exits.awaitRoot(frame);
      },
      writeCr0: (value) => exits.writeCr0(value),
      writeCr3: (valueLow, valueHigh) => exits.writeCr3(valueLow, valueHigh),
      writeCr4: (value) => exits.writeCr4(value),
      writeEfer: (value) => exits.writeEfer(value),
      invlpg: (addressLow, addressHigh) => exits.invlpg(addressLow, addressHigh),
      hypercall: (operation, first, second) => exits.hypercall(operation, first, second),
    };
  }
}

/** The control cells of a vCPU of a machine. */
export function areaOf(machine: Machine, vcpu: number): number {
  return vcpuArea(machine.layout, vcpuId(vcpu));
}

let ticks = 0;

/** The low half of an address or a value. */
export function low(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

/** The high half. */
export function high(value: bigint): number {
  return Number(BigInt.asIntN(32, value >> 32n));
}

function unsigned(half: number): bigint {
  return BigInt(half >>> 0);
}
