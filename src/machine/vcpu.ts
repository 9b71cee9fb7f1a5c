/**
 * A virtual CPU: executes guest operations against the hardware pagetables (the shadows) through its TLB.
 *
 * Each memory operation polls the mailbox, asks the TLB, on a miss walks the tables, and either performs its access or
 * exits to the hypervisor with a page fault (design 4). The operation in flight stands in public fields, where the
 * hypervisor's emulator finds it.
 */
import { LockWaits } from "../locks/lock-waits.ts";
import { Counter } from "../memory/counters.ts";
import type { Layout } from "../memory/layout.ts";
import type { Clock } from "../memory/clock.ts";
import { RecentOperations } from "../memory/recent-operations.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Cell, VcpuId } from "../memory/units.ts";
import { Doing, Doorbell, VcpuCell, VcpuState, vcpuArea } from "../memory/vcpu-area.ts";
import { ring, Waiter } from "../memory/wait.ts";
import { CounterSet } from "./counter-set.ts";
import { Operation, OTHER_OPERATION, Status } from "./exits.ts";
import type { Exits, InterruptHandler } from "./exits.ts";
import { FlushMailbox } from "./flush.ts";
import { PhysicalAccess } from "./physical-access.ts";
import { Parking } from "./parking.ts";
import { MemoryAccess } from "./memory-access.ts";
import { NestedPaging } from "./nested-walk.ts";
import { SavedOperation } from "./saved-operation.ts";
import { refreshStandingRights } from "./standing-rights.ts";
import { StructureCache } from "./structure-cache.ts";
import { Tlb } from "./tlb.ts";
import { CodeState } from "./x86/code-state.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const EM_EX_FAIL = Counter.em_ex_fail;
const EXITS = Counter.exits;
const HALTS = Counter.halts;
const HYPERCALLS = Counter.hypercalls;
const INTERRUPTS = Counter.interrupts;
const DOING_GUEST = Doing.guest;
const DOING_HALTED = Doing.halted;
const DOING_HYPERCALL = Doing.hypercall;
const DOING_INVLPG = Doing.invlpg;
const DOING_WRITE_CR = Doing.writeCr;
const RING_FLUSH = Doorbell.flush;
const RING_INTERRUPT = Doorbell.interrupt;
const RING_PARK = Doorbell.park;
const RING_STOP = Doorbell.stop;
const OPERATION_COMPARE_EXCHANGE = Operation.compareExchange;
const OPERATION_FETCH = Operation.fetch;
const OPERATION_LOAD = Operation.load;
const OPERATION_STORE = Operation.store;
const STATUS_DONE = Status.done;
const STATUS_STOPPED = Status.stopped;
const CELL_ADDRESS_HIGH = VcpuCell.addressHigh;
const CELL_ADDRESS_LOW = VcpuCell.addressLow;
const CELL_DOING = VcpuCell.doing;
const CELL_DOORBELL = VcpuCell.doorbell;
const CELL_HEARTBEAT = VcpuCell.heartbeat;
const CELL_INTERRUPTS = VcpuCell.interrupts;
const CELL_NESTED_ROOT = VcpuCell.nestedRoot;
const CELL_SHADOW_LEVELS = VcpuCell.shadowLevels;
const CELL_WAITS_FOR_LOCK = VcpuCell.waitsForLock;

const USER = 4;
const IMPLICIT_SUPERVISOR = 1 << 18;

/** A finding of a check that runs inside the model. */
export interface Finding {
  readonly check: string;
  readonly vcpu: number;
  readonly message: string;
}

/** One vCPU, as its own thread sees it. */
export class Vcpu {
  readonly id: VcpuId;
  readonly memory: SharedMemory;
  readonly layout: Layout;
  readonly area: Cell;
  readonly clock: Clock;
  readonly counters: CounterSet;
  readonly tlb: Tlb;
  readonly structureCache: StructureCache;
  readonly mailbox: FlushMailbox;
  readonly waiter: Waiter;
  readonly physical: PhysicalAccess;
  readonly access: MemoryAccess;
  readonly code: CodeState;
  readonly nested: NestedPaging;
  readonly parking: Parking;
  readonly findings: Finding[] = [];
  readonly lockWaits: LockWaits = new LockWaits();
  /** Set by the hypervisor that owns this vCPU. */
  exits: Exits | null = null;
  /** Set by the guest kernel that runs on it; null masks interrupts. */
  interruptHandler: InterruptHandler | null = null;

  /** The memory operation in flight: an `Operation`, its size in bytes, linear address and operands. */
  operation = 0;
  size = 0;
  addressLow = 0;
  addressHigh = 0;
  valueLow = 0;
  valueHigh = 0;
  expectedLow = 0;
  expectedHigh = 0;
  /** The value read, by load, fetch and compare-exchange. */
  resultLow = 0;
  resultHigh = 0;
  /** Whether the compare-exchange stored. */
  exchanged = false;
  /** Frame that the operation's first byte was found in; -1 when a device answered. */
  frame = -1;
  /** Gfn of the device page that answered the last MMIO access, the first of two. */
  deviceFrame = -1;
  /** Linear address of the last fault and the error code that the guest sees. */
  faultLow = 0;
  faultHigh = 0;
  faultErrorCode = 0;
  /** Operations that the emulator may still execute before the guest resumes; 0 while the guest itself runs. */
  aheadLeft = 0;

  /** Privilege of accesses: bits user 4 and implicit supervisor 1<<18, as in an access word. */
  accessBits = 0;
  /** Current privilege level. */
  cpl = 0;
  /** EFLAGS.AC. */
  alignmentCheck = false;

  /** Page rights that forbid a data access or a fetch now: `user` under SMAP and SMEP, else 0. */
  forbidData = 0;
  forbidFetch = 0;
  /** Page rights that are not asked for now: `writable` for the supervisor while the guest's own CR0.WP is clear, or 0. */
  waived = 0;

  readonly #recent: RecentOperations;
  #operations = 0;

  constructor(memory: SharedMemory, layout: Layout, id: VcpuId, clock: Clock) {
    this.id = id;
    this.memory = memory;
    this.layout = layout;
    this.clock = clock;
    this.area = vcpuArea(layout, id);
    this.counters = new CounterSet(memory, layout, id);
    this.tlb = new Tlb(memory, layout, id);
    this.structureCache = new StructureCache(memory, layout, id);
    this.waiter = new Waiter(memory, this.area);
    this.mailbox = new FlushMailbox(memory, layout, id, this, this.waiter, this.counters);
    this.physical = new PhysicalAccess(memory);
    this.code = new CodeState(memory, this.area);
    this.access = new MemoryAccess(this);
    this.nested = new NestedPaging(this);
    this.#recent = new RecentOperations(memory, layout, id);
    this.parking = new Parking(this);
  }

  /** Privilege of the accesses that follow. A supervisor access at CPL 3 is an implicit one (descriptor tables, say). */
  setPrivilege(cpl: number, alignmentCheck: boolean, supervisorAccess: boolean): void {
    this.cpl = cpl;
    this.alignmentCheck = alignmentCheck;
    if (cpl < 3) this.accessBits = 0;
    else this.accessBits = supervisorAccess ? IMPLICIT_SUPERVISOR : USER;
    this.refreshRights();
  }

  /** Recomputes what SMEP and SMAP forbid and WP waives; called when CR0, CR4 or the privilege changes. */
  refreshRights(): void {
    refreshStandingRights(this);
  }

  /** Whether hardware walks the guest's own tables, through p2m tables. */
  hasNestedPaging(): boolean {
    return this.register(CELL_NESTED_ROOT) !== 0;
  }

  /** High half of the address of the page at `nextLow` that follows one at `high`: 32-bit addresses end at 4 GiB. */
  highOfNextPage(nextLow: number, high: number): number {
    return nextLow === 0 && this.register(CELL_SHADOW_LEVELS) === 4 ? (high + 1) | 0 : high;
  }

  /** A control register of this vCPU, by `VcpuCell`. */
  register(offset: number): number {
    return this.memory.loadPrivate(this.area + offset);
  }

  /** Sets a control register of this vCPU. */
  setRegister(offset: number, value: number): void {
    this.memory.storeWord(this.area + offset, value);
  }

  /** Loads 1, 2, 4 or 8 bytes. Returns a `Status`. */
  load(low: number, high: number, size: number): number {
    return this.access.run(OPERATION_LOAD, low, high, size);
  }

  /** Fetches an instruction's bytes. Returns a `Status`. */
  fetch(low: number, high: number, size: number): number {
    return this.access.run(OPERATION_FETCH, low, high, size);
  }

  /** Stores 1, 2, 4 or 8 bytes. Returns a `Status`. */
  store(low: number, high: number, size: number, valueLow: number, valueHigh: number): number {
    this.valueLow = valueLow;
    this.valueHigh = valueHigh;
    return this.access.run(OPERATION_STORE, low, high, size);
  }

  /** Compare-exchanges with the operands set in `expectedLow/High` and `valueLow/High`. Returns a `Status`. */
  compareExchange(low: number, high: number, size: number): number {
    return this.access.run(OPERATION_COMPARE_EXCHANGE, low, high, size);
  }

  /** MOV to CR0. */
  writeCr0(value: number): number {
    if (!this.#begin(DOING_WRITE_CR)) return STATUS_STOPPED;
    return this.#end(this.hypervisor().writeCr0(value));
  }

  /** MOV to CR3. */
  writeCr3(low: number, high: number): number {
    const isNested = this.hasNestedPaging();
    if (!this.#begin(DOING_WRITE_CR, !isNested)) return STATUS_STOPPED;
    return this.#end(isNested ? this.nested.loadCr3(low, high) : this.hypervisor().writeCr3(low, high));
  }

  /** MOV to CR4. */
  writeCr4(value: number): number {
    if (!this.#begin(DOING_WRITE_CR)) return STATUS_STOPPED;
    return this.#end(this.hypervisor().writeCr4(value));
  }

  /** WRMSR of EFER. */
  writeEfer(value: number): number {
    if (!this.#begin(DOING_WRITE_CR)) return STATUS_STOPPED;
    return this.#end(this.hypervisor().writeEfer(value));
  }

  /** INVLPG. */
  invlpg(low: number, high: number): number {
    const isNested = this.hasNestedPaging();
    if (!this.#begin(DOING_INVLPG, !isNested)) return STATUS_STOPPED;
    if (isNested) this.tlb.dropMapping(low, high);
    else if (this.hypervisor().invlpg(low, high)) this.tlb.drop(low, high);
    // Of the caches for upper levels INVLPG drops everything, whatever the address (SDM vol. 3, 4.10.4.1).
    this.structureCache.flush();
    return this.#end(STATUS_DONE);
  }

  /** A hypercall. */
  hypercall(operation: number, first: number, second: number): number {
    if (!this.#begin(DOING_HYPERCALL)) return STATUS_STOPPED;
    this.counters.add(HYPERCALLS);
    return this.#end(this.hypervisor().hypercall(operation, first, second));
  }

  /** HLT: sleeps until another vCPU sends an interrupt or the machine stops. */
  halt(): number {
    if (!this.poll()) return STATUS_STOPPED;
    this.#resumeGuest();
    this.counters.add(HALTS);
    this.noteDoing(DOING_HALTED);
    this.mailbox.setState(VcpuState.halted);
    const doorbell = this.area + CELL_DOORBELL;
    // Parking is not the guest's business: it sleeps on afterwards.
    let bits = this.memory.loadWord(doorbell);
    while ((bits & ~(RING_FLUSH | RING_PARK)) === 0) {
      if ((bits & RING_PARK) !== 0) {
        this.parking.park();
        this.noteDoing(DOING_HALTED);
        this.mailbox.setState(VcpuState.halted);
      } else {
        this.mailbox.serve();
        this.waiter.waitWhile(doorbell, 0);
      }
      bits = this.memory.loadWord(doorbell);
    }
    this.mailbox.setState(VcpuState.running);
    this.noteDoing(DOING_GUEST);
    return this.poll() ? STATUS_DONE : STATUS_STOPPED;
  }

  /** Sends an interrupt to another vCPU; vector 0 to 30. */
  sendInterrupt(target: Cell, vector: number): void {
    this.memory.orWord(target + CELL_INTERRUPTS, 1 << vector);
    ring(this.memory, target, RING_INTERRUPT);
  }

  /**
   * What happens between two guest operations: flushes are served, interrupts taken, a request to park obeyed. False
   * when the machine stops.
   */
  poll(): boolean {
    const bits = this.memory.loadWord(this.area + CELL_DOORBELL);
    return bits === 0 || this.serveDoorbell(bits);
  }

  /** Does what the bits of the doorbell ask for. False when the machine stops. */
  serveDoorbell(bits: number): boolean {
    if ((bits & RING_FLUSH) !== 0) this.mailbox.serve();
    if ((bits & RING_STOP) !== 0) return false;
    if ((bits & RING_PARK) !== 0) this.parking.park();
    if ((bits & RING_INTERRUPT) !== 0) this.#takeInterrupts();
    return true;
  }

  /** Waits while a cell holds a value, or until a flush is asked for, which it serves. */
  waitServing(cell: number, value: number): void {
    this.waiter.waitWhile(cell, value);
    this.mailbox.serve();
  }

  /** For locks: which lock is waited for, for the watchdog. */
  noteWaiting(lock: number): void {
    this.memory.storePrivate(this.area + CELL_WAITS_FOR_LOCK, lock);
  }

  /** Records something wrong that a check inside the model saw. */
  reportViolation(check: string, message: string): void {
    if (this.findings.length < FINDINGS_MAX) this.findings.push({ check, vcpu: this.id, message });
  }

  /** Guest operations begun by this vCPU. */
  get operations(): number {
    return this.#operations;
  }

  /** The vCPU begins to run: its TLB is empty and from now on it must acknowledge flushes. */
  start(): void {
    this.mailbox.setState(VcpuState.running);
    this.refreshRights();
  }

  /** The vCPU has ended and acknowledges flushes by being off. */
  stop(): void {
    this.mailbox.setState(VcpuState.ended);
  }

  #begin(doing: number, isExit = true): boolean {
    if (!this.poll()) return false;
    this.#resumeGuest();
    this.countOperation(OTHER_OPERATION | doing, 0, 0);
    if (isExit) this.counters.add(EXITS);
    this.noteDoing(doing);
    return true;
  }

  /** The instruction at hand is none that the emulator, should it be in control, could execute. */
  #resumeGuest(): void {
    if (this.aheadLeft === 0) return;
    this.aheadLeft = 0;
    this.counters.add(EM_EX_FAIL);
  }

  #end(status: number): number {
    this.noteDoing(DOING_GUEST);
    return status;
  }

  /** One more operation begins, by its number and address: the watchdog sees that the vCPU moves. */
  countOperation(what: number, low: number, high: number): void {
    this.#recent.note(what, low, high);
    this.#operations = (this.#operations + 1) | 0;
    this.memory.storePrivate(this.area + CELL_HEARTBEAT, this.#operations);
  }

  /** What the vCPU is at, a `Doing`, for the watchdog. */
  noteDoing(what: number): void {
    this.memory.storePrivate(this.area + CELL_DOING, what);
  }

  /** The address of a page-fault exit, for the watchdog. */
  noteAddress(low: number, high: number): void {
    this.memory.storePrivate(this.area + CELL_ADDRESS_LOW, low);
    this.memory.storePrivate(this.area + CELL_ADDRESS_HIGH, high);
  }

  /** The hypervisor that this vCPU exits to. Throws when it has none. */
  hypervisor(): Exits {
    const exits = this.exits;
    if (exits === null) throw new Error(`vCPU ${String(this.id)} runs without a hypervisor`);
    return exits;
  }

  #takeInterrupts(): void {
    const handler = this.interruptHandler;
    if (handler === null) return;
    this.memory.andWord(this.area + CELL_DOORBELL, ~RING_INTERRUPT);
    const vectors = this.memory.exchangeWord(this.area + CELL_INTERRUPTS, 0);
    if (vectors === 0) return;
    this.counters.add(INTERRUPTS);
    this.aheadLeft = 0;
    // Masked while it runs; the operation in flight is saved as an interrupt gate would save it.
    this.interruptHandler = null;
    const saved = new SavedOperation(this);
    handler.interrupt(vectors);
    saved.restore(this);
    this.interruptHandler = handler;
  }
}

const FINDINGS_MAX = 100;
