/**
 * Every access to machine frames is judged as it happens: a guest's by the translations that a processor may use, a
 * walk's and the hypervisor's by the lifetime of the frame, a write to a guest's table by who may change what.
 */
import { GuestEntries } from "../../../checks/guest-entries.ts";
import { hex } from "../../../checks/hex.ts";
import { LegalTranslations } from "../../../checks/legal-translations.ts";
import { Lifetimes, isRootCell } from "../../../checks/lifetimes.ts";
import { WriteLog } from "../../../checks/write-log.ts";
import type { HostedVcpu, Machine } from "../../../hypervisor/machine.ts";
import { P2mType, discardsWrites, frameInP2mEntry, isReadOnlyEntry } from "../../../hypervisor/p2m-type.ts";
import { LockCell, lockArea } from "../../../locks/lock-area.ts";
import { partCell } from "../../../locks/parts.ts";
import { Operation, Status } from "../../../machine/exits.ts";
import { FrameUse, MAY_WRITE, SHADOWED } from "../../../memory/frame-table.ts";
import { LOCK_NAMES, VCPU_WORDS } from "../../../memory/layout.ts";
import { PAGE_BYTES, mfn } from "../../../memory/units.ts";
import { Doing, VcpuCell } from "../../../memory/vcpu-area.ts";
import { AccessKind } from "../../coroutine/accessors.ts";
import type { Failure } from "../program-world.ts";
import { SCHEDULER } from "../scheduler.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ExecutionCheck } from "../world.ts";
import { SiteRole, SiteRoles } from "./site-roles.ts";

const { read: READ, fill: FILL } = AccessKind;
const { operand: OPERAND, walk: WALK, hypervisor: HYPERVISOR, copy: COPY } = SiteRole;
const PAGE_SHIFT = 10;
/** The step of what was there when the execution began: before the first, but not never. */
const FROM_BEFORE = 1;
const NEEDS: readonly number[] = [0, 2, 2, 16, 2, 2];
const WRITES: ReadonlySet<number> = new Set([Operation.store, Operation.compareExchange, Operation.alter]);
const NAMES: readonly string[] = ["load", "store", "compare-exchange", "fetch", "locked operation", "load"];
const PRIVILEGE = 4 | (1 << 18);

/** Judges accesses to machine frames on a machine on which coroutines run. */
export class MemoryCheck implements ExecutionCheck {
  readonly #machine: Machine;
  readonly #vcpus: () => readonly HostedVcpu[];
  readonly #roles = new SiteRoles();
  readonly #log: WriteLog;
  readonly #translations: LegalTranslations;
  readonly #lifetimes: Lifetimes;
  readonly #entries: GuestEntries;
  readonly #ownerCell: number;
  readonly #framesEnd: number;
  readonly #failures: Failure[] = [];
  #hosted: readonly HostedVcpu[] = [];
  #record = -1;
  /** When each root register was loaded in this execution, by cell. */
  readonly #loaded = new Map<number, number>();

  constructor(machine: Machine, vcpus: () => readonly HostedVcpu[]) {
    this.#machine = machine;
    this.#vcpus = vcpus;
    const { view } = machine.memory;
    this.#log = new WriteLog(view);
    this.#translations = new LegalTranslations(machine, this.#log);
    this.#lifetimes = new Lifetimes(view, machine.layout, machine.config.paging);
    this.#entries = new GuestEntries(view);
    this.#ownerCell = lockArea(machine.layout, LOCK_NAMES.indexOf("paging")) + LockCell.owner;
    this.#framesEnd = machine.layout.sizes.frames << PAGE_SHIFT;
  }

  begin(): void {
    this.#roles.refresh();
    this.#log.begin();
    this.#translations.begin();
    this.#lifetimes.begin();
    this.#failures.length = 0;
    this.#loaded.clear();
    this.#record = -1;
    this.#hosted = this.#vcpus();
    for (const hosted of this.#hosted) this.#noteFlushes(hosted);
  }

  beforeStep(scheduler: Scheduler, thread: number): void {
    const cell = scheduler.cell[thread] ?? 0;
    if (cell < this.#framesEnd) this.#frameAccess(scheduler, thread, cell);
    else if ((scheduler.kind[thread] ?? 0) === READ) this.#readElsewhere(scheduler, thread, cell);
    else {
      const { records } = this.#machine.layout.regions;
      if (cell >= records.offset && cell < records.offset + records.words) this.#record = cell;
      else if (cell === this.#ownerCell || cell === partCell(this.#machine.layout, thread))
        this.#log.released(thread, scheduler.steps);
      else if (this.#isRoot(cell)) this.#loaded.set(cell, scheduler.steps);
    }
  }

  afterStep(scheduler: Scheduler, thread: number): void {
    if (this.#record >= 0) {
      this.#lifetimes.recordWritten(this.#record, scheduler.steps);
      this.#record = -1;
    }
    const changed = this.#entries.after();
    if (changed !== undefined) this.#fail(scheduler, thread, "guest-entries", changed);
  }

  end(): readonly Failure[] {
    return this.#failures;
  }

  #frameAccess(scheduler: Scheduler, thread: number, cell: number): void {
    const kind = scheduler.kind[thread] ?? READ;
    const frame = cell >>> PAGE_SHIFT;
    const role = this.#roles.of(scheduler.site[thread] ?? 0);
    if (this.#isHolder(scheduler, thread)) this.#holderAccess(scheduler, thread, cell, role);
    else if (role === OPERAND) this.#guestAccess(scheduler, thread, cell, frame);
    else if (role === WALK && this.#isInHypervisor(thread)) this.#guestWalk(scheduler, thread, cell, frame);
    else if (role === COPY) this.#copies(scheduler, thread, frame);
    else if (kind !== FILL) this.#follow(scheduler, thread, cell, frame);
    if (kind === READ || kind === FILL || this.#lifetimes.use(frame) !== FrameUse.guest) return;
    // A store that exits is not over before its instruction is: what was there may be used until then.
    const holder = this.#isHolder(scheduler, thread) ? thread : -1;
    this.#log.note(cell, scheduler.steps, holder);
    if ((scheduler.span[thread] ?? 1) === 2) this.#log.note(cell + 1, scheduler.steps, holder);
  }

  /** Whether a thread holds the paging lock, whole or in part. */
  #isHolder({ view }: Scheduler, thread: number): boolean {
    return (
      view[this.#ownerCell] === thread + 1 || view[partCell(this.#machine.layout, thread)] === thread + 1
    );
  }

  /** Hardware's walk, or the hypervisor's without the lock: a pointer is as old as the read that it came from. */
  #follow(scheduler: Scheduler, thread: number, cell: number, frame: number): void {
    const { view, steps } = scheduler;
    const problem = this.#lifetimes.followsTable(thread, frame, steps);
    if (problem !== undefined) this.#fail(scheduler, thread, "lifetime", problem);
    if (this.#lifetimes.namesFrames(frame))
      this.#lifetimes.readsEntry(thread, view[cell] ?? 0, view[cell + 1] ?? 0, steps);
  }

  /**
   * Whether a vCPU has exited: what it walks then are the guest's tables, not hardware's. In hap the hypervisor walks under
   * the lock only; whatever else walks is hardware, which loads CR3 itself.
   */
  #isInHypervisor(thread: number): boolean {
    if (this.#machine.config.paging === "hap") return false;
    const vcpu = this.#hosted[thread]?.vcpu;
    return vcpu !== undefined && vcpu.register(VcpuCell.doing) !== Doing.guest;
  }

  /** The hypervisor's walk of the guest's tables without the lock: it may set A and D, and only in the guest's memory. */
  #guestWalk(scheduler: Scheduler, thread: number, cell: number, frame: number): void {
    const problem = this.#lifetimes.followsGuestTable(thread, frame, scheduler.steps);
    if (problem !== undefined) this.#fail(scheduler, thread, "lifetime", problem);
    if ((scheduler.kind[thread] ?? READ) !== READ && this.#isMapped(frame))
      this.#entries.before(cell, scheduler.span[thread] ?? 1);
  }

  /** The toolstack looks at a page of the guest, which must be one for as long as that takes. */
  #copies(scheduler: Scheduler, thread: number, frame: number): void {
    const freed = this.#lifetimes.accessesPage(frame);
    if (freed !== undefined) this.#fail(scheduler, thread, "lifetime", freed);
  }

  #holderAccess(scheduler: Scheduler, thread: number, cell: number, role: number): void {
    const kind = scheduler.kind[thread] ?? READ;
    if (kind === FILL) return;
    const frame = cell >>> PAGE_SHIFT;
    const problem = this.#lifetimes.holderAccesses(frame);
    if (problem !== undefined) this.#fail(scheduler, thread, "lifetime", problem);
    if (role === OPERAND) this.#judgeTranslation(scheduler, thread, cell, frame);
    if (role === OPERAND && kind !== READ && discardsWrites(this.#entryOf(frame)))
      this.#fail(scheduler, thread, "translation", `it writes to read-only frame ${hex(frame)}`);
    const isStore = role === OPERAND || this.#roles.isGuestStore(scheduler.site[thread] ?? 0);
    if (kind === READ || isStore || !this.#isMapped(frame)) return;
    this.#entries.before(cell, scheduler.span[thread] ?? 1);
  }

  /** Whether a frame is guest memory that the guest can see: one that is being filled is not. */
  #isMapped(frame: number): boolean {
    const { frames, p2m } = this.#machine;
    return this.#lifetimes.use(frame) === FrameUse.guest && p2m.frameOf(frames.back(mfn(frame))) === frame;
  }

  #guestAccess(scheduler: Scheduler, thread: number, cell: number, frame: number): void {
    const vcpu = this.#hosted[thread]?.vcpu;
    if (vcpu === undefined) return;
    const freed = this.#lifetimes.accessesPage(frame);
    if (freed !== undefined) {
      this.#fail(scheduler, thread, "lifetime", freed);
      return;
    }
    const { frames } = this.#machine;
    const isWrite = WRITES.has(vcpu.operation);
    if (isWrite && (frames.shadowFlags(mfn(frame)) & (SHADOWED | MAY_WRITE)) === SHADOWED)
      this.#fail(scheduler, thread, "translation", `it writes to pagetable ${hex(frame)} without an exit`);
    if (isWrite && isReadOnlyEntry(this.#entryOf(frame)))
      this.#fail(
        scheduler,
        thread,
        "translation",
        `it writes to read-only frame ${hex(frame)} without an exit`,
      );
    this.#judgeTranslation(scheduler, thread, cell, frame);
  }

  /** What the p2m says of the gfn that a frame lies at; of a device's frame nothing. */
  #entryOf(frame: number): number {
    const { frames, p2m } = this.#machine;
    const entry = p2m.entryOf(frames.back(mfn(frame)));
    return frameInP2mEntry(entry) === frame ? entry : P2mType.mmioDm;
  }

  /** Whether the guest's tables let the operation in flight go where it goes, by itself or emulated. */
  #judgeTranslation(scheduler: Scheduler, thread: number, cell: number, frame: number): void {
    const vcpu = this.#hosted[thread]?.vcpu;
    if (vcpu === undefined) return;
    const access = (NEEDS[vcpu.operation] ?? 0) | (vcpu.accessBits & PRIVILEGE);
    // Of an access to two pages the second has the bytes that lie before the first one's.
    const start = vcpu.addressLow & (PAGE_BYTES - 1);
    const crosses = start + vcpu.size > PAGE_BYTES;
    const isSecond = crosses && (cell & 0x3ff) < start >>> 2;
    const low = isSecond ? ((vcpu.addressLow & -PAGE_BYTES) + PAGE_BYTES) | 0 : vcpu.addressLow;
    const high = isSecond && low === 0 ? (vcpu.addressHigh + 1) | 0 : vcpu.addressHigh;
    const { alignmentCheck } = vcpu;
    if (this.#translations.isLegal(thread, frame, { low, high, access, alignmentCheck })) return;
    const now = this.#translations.frameNow(thread, low, high);
    const name = NAMES[vcpu.operation] ?? "access";
    this.#fail(
      scheduler,
      thread,
      "translation",
      `its ${name} at ${address(low, high)} goes to frame ${hex(frame)}, which no pagetable since its last flush allows; ` +
        `the tables now say ${now < 0 ? "that nothing is there" : `frame ${hex(now)}`}`,
    );
  }

  #readElsewhere(scheduler: Scheduler, thread: number, cell: number): void {
    const role = this.#roles.of(scheduler.site[thread] ?? 0);
    if (role !== WALK && role !== HYPERVISOR) return;
    if (this.#isHolder(scheduler, thread)) return;
    const { records, p2m } = this.#machine.layout.regions;
    const { view } = scheduler;
    if (cell >= p2m.offset && cell < p2m.offset + p2m.words) {
      this.#lifetimes.readsPointer(thread, frameInP2mEntry(view[cell] ?? 0), scheduler.steps);
    } else if (this.#isRoot(cell)) {
      // A register is no memory: what it holds is as old as the load of the register.
      const steps = this.#loaded.get(cell) ?? FROM_BEFORE;
      if ((scheduler.span[thread] ?? 1) === 1) this.#lifetimes.readsPointer(thread, view[cell] ?? 0, steps);
      else this.#lifetimes.readsEntry(thread, view[cell] ?? 0, view[cell + 1] ?? 0, steps);
    } else if (role === HYPERVISOR && cell >= records.offset && cell < records.offset + records.words) {
      const frame = (cell - records.offset) % this.#machine.layout.sizes.frames;
      const problem =
        this.#hosted[thread] === undefined
          ? undefined
          : this.#lifetimes.followsTable(thread, frame, scheduler.steps);
      if (problem !== undefined) this.#fail(scheduler, thread, "lifetime", problem);
    }
  }

  /** Whether a cell is one of the registers from which hardware begins its walks. */
  #isRoot(cell: number): boolean {
    const { vcpus } = this.#machine.layout.regions;
    const isOfVcpu = cell >= vcpus.offset && cell < vcpus.offset + vcpus.words;
    return isOfVcpu && isRootCell((cell - vcpus.offset) % VCPU_WORDS);
  }

  #fail(scheduler: Scheduler, thread: number, check: string, what: string): void {
    const who = thread < this.#hosted.length ? `vCPU ${String(thread)}` : "The toolstack";
    this.#failures.push({ check, thread, message: `${who}: ${what}.` });
    scheduler.stop();
  }

  /** The guest's own flushes, seen as its instructions. */
  #noteFlushes({ vcpu }: HostedVcpu): void {
    const translations = this.#translations;
    const invlpg: (low: number, high: number) => unknown = vcpu.invlpg.bind(vcpu);
    const writeCr3: (low: number, high: number) => unknown = vcpu.writeCr3.bind(vcpu);
    Object.assign(vcpu, {
      *invlpg(low: number, high: number): Generator<unknown, unknown> {
        const { steps } = SCHEDULER;
        const status = yield* resultOf(invlpg(low, high));
        if (status === Status.done) translations.invalidated(vcpu.id, low, high, steps);
        return status;
      },
      *writeCr3(low: number, high: number): Generator<unknown, unknown> {
        const { steps } = SCHEDULER;
        const status = yield* resultOf(writeCr3(low, high));
        if (status === Status.done) translations.flushed(vcpu.id, steps);
        return status;
      },
    });
  }
}

/** What a rewritten method returns in the end. */
function* resultOf(result: unknown): Generator<unknown, unknown> {
  return result instanceof Iterator ? yield* result : result;
}

function address(low: number, high: number): string {
  return `0x${((high >>> 0) * 2 ** 32 + (low >>> 0)).toString(16)}`;
}
