/** A vCPU on a thread of its own whose guest does anything at all to tables that it shares with others. */
import { parentPort, workerData } from "node:worker_threads";
import { Machine } from "../../src/hypervisor/machine.ts";
import type { MachineHandle } from "../../src/hypervisor/machine.ts";
import { Cr0, Cr4, Efer } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import type { Finding, Vcpu } from "../../src/machine/vcpu.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { Bit, USER_PAGE, directBase, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";

const PAGETABLE_DYING = 2;

/** What a vCPU is told. */
export interface WildTask {
  readonly handle: MachineHandle;
  readonly levels: GuestLevels;
  readonly vcpu: number;
  readonly seed: number;
  /** Values for CR3. */
  readonly roots: readonly bigint[];
  /** Guest physical addresses of the entries that its accesses go through. */
  readonly entries: readonly number[];
  /** Linear addresses that it accesses. */
  readonly addresses: readonly bigint[];
  /** Pages that entries may name. */
  readonly pages: number;
}

/** What it reports in the end. */
export interface WildResult {
  readonly findings: readonly Finding[];
  readonly operations: number;
  /** Whether a lock was still held. */
  readonly holdsLock: boolean;
}

const FLAGS = [
  USER_PAGE,
  USER_PAGE,
  USER_PAGE & ~Bit.d,
  USER_PAGE & ~Bit.a,
  USER_PAGE & ~Bit.w,
  USER_PAGE & ~Bit.p,
  USER_PAGE | Bit.ps,
  USER_PAGE | Bit.nx,
  0n,
] as const;

class WildVcpu {
  readonly #task: WildTask;
  readonly #vcpu: Vcpu;
  #state: number;

  constructor(task: WildTask, vcpu: Vcpu) {
    this.#task = task;
    this.#vcpu = vcpu;
    this.#state = task.seed;
  }

  run(): void {
    this.#boot();
    while (this.#step() !== Status.stopped);
  }

  #boot(): void {
    const { levels, roots } = this.#task;
    this.#vcpu.writeCr4(Cr4.pge | (levels === 2 ? Cr4.pse : Cr4.pae));
    this.#vcpu.writeEfer((levels === 4 ? Efer.lme : 0) | (levels === 2 ? 0 : Efer.nxe));
    this.#vcpu.writeCr3(...halves(roots[0] ?? 0n));
    this.#vcpu.writeCr0(Cr0.pg | Cr0.wp | Cr0.pe);
  }

  /** Write protection of the kernel on or off, or the news that a process is dying. */
  #seldom(): number {
    const chosen = this.#below(3);
    if (chosen === 2) return this.#vcpu.hypercall(PAGETABLE_DYING, ...halves(this.#pick(this.#task.roots)));
    return this.#vcpu.writeCr0(Cr0.pg | Cr0.pe | (chosen === 0 ? Cr0.wp : 0));
  }

  #step(): number {
    const vcpu = this.#vcpu;
    const kind = this.#below(24);
    if (kind < 5) return this.#storeEntry();
    if (kind === 5) return vcpu.writeCr3(...halves(this.#pick(this.#task.roots)));
    if (kind === 6) return vcpu.invlpg(...halves(this.#pick(this.#task.addresses)));
    if (kind === 7) {
      // Stores in user mode end the domain when they meet a root, so there are none.
      vcpu.setPrivilege(3, false, false);
      const status = vcpu.load(...halves(this.#address()), 4);
      vcpu.setPrivilege(0, false, false);
      return status;
    }
    if (kind === 8 && this.#below(4) === 0) return this.#seldom();
    const address = halves(this.#address());
    const size = 1 << this.#below(4);
    if (kind < 15) return vcpu.load(...address, size);
    if (kind < 22) return vcpu.store(...address, size, this.#below(2 ** 31), this.#below(4));
    vcpu.expectedLow = 0;
    vcpu.expectedHigh = 0;
    vcpu.valueLow = this.#below(2 ** 31);
    vcpu.valueHigh = 0;
    return vcpu.compareExchange(...address, size);
  }

  #storeEntry(): number {
    const { levels, entries, pages } = this.#task;
    const at = this.#pick(entries);
    const entry = entryOf(this.#below(pages), this.#pick(FLAGS));
    const address = directBase(levels) + BigInt(at);
    const size = this.#below(8) === 0 ? 4 : entryBytes(levels);
    return this.#vcpu.store(...halves(address), size, ...halves(entry));
  }

  #address(): bigint {
    const address = this.#pick(this.#task.addresses);
    return address + BigInt(this.#below(16) === 0 ? 4094 : this.#below(512) * 8);
  }

  #pick<T>(list: readonly [T, ...T[]] | readonly T[]): T {
    const [first] = list;
    const found = list[this.#below(list.length)] ?? first;
    if (found === undefined) throw new Error("there is nothing to pick from");
    return found;
  }

  #below(bound: number): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  }
}

function halves(value: bigint): [low: number, high: number] {
  return [Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))];
}

function run(task: WildTask): WildResult {
  const machine = Machine.attach(task.handle);
  const { vcpu, paging, held } = machine.createVcpu(vcpuId(task.vcpu), {
    now: () => performance.now() * 1e6,
  });
  vcpu.start();
  parentPort?.postMessage("started");
  new WildVcpu(task, vcpu).run();
  const holdsLock = !held.isEmpty();
  paging.teardownVcpu();
  vcpu.stop();
  return { findings: vcpu.findings, operations: vcpu.operations, holdsLock };
}

if (parentPort !== null) parentPort.postMessage(run(workerData as WildTask));
