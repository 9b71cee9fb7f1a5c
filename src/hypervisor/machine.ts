/**
 * A machine with its one domain, and how threads get hold of it: one thread creates it, others attach, each vCPU's own
 * thread creates that vCPU, and one more thread may act as the toolstack.
 */
import { HeldLocks } from "../locks/held-locks.ts";
import { RecursiveLock } from "../locks/lock.ts";
import { PageLock } from "../locks/page-lock.ts";
import { Parts } from "../locks/parts.ts";
import { DomainCell } from "../memory/domain-area.ts";
import type { Clock } from "../memory/clock.ts";
import { FrameTable, FrameUse, PageType } from "../memory/frame-table.ts";
import { layOut } from "../memory/layout.ts";
import type { Layout } from "../memory/layout.ts";
import { SharedMemory } from "../memory/shared-memory.ts";
import type { SharedMemoryHandle } from "../memory/shared-memory.ts";
import { PAGE_WORDS, mfn, vcpuId } from "../memory/units.ts";
import type { VcpuId } from "../memory/units.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import { Vcpu } from "../machine/vcpu.ts";
import { WantedPage } from "./absent-pages.ts";
import { Device } from "./device.ts";
import { Domain } from "./domain.ts";
import { DomainControl } from "./domain-control.ts";
import { GuestMemory } from "./guest-memory.ts";
import { Hap } from "./hap/hap.ts";
import { HapPaging } from "./hap/hap-paging.ts";
import { Heap } from "./heap.ts";
import type { MachineConfig } from "./machine-config.ts";
import { P2m } from "./p2m.ts";
import { P2mType } from "./p2m-type.ts";
import type { PagingBase } from "./paging-base.ts";
import type { PagingInterface } from "./paging-interface.ts";
import { ShadowPaging, shadowOf } from "./shadow/shadow-paging.ts";
import { Shadow } from "./shadow/shadow.ts";

/** What another thread needs to attach to a machine. Plain data. */
export interface MachineHandle {
  readonly config: MachineConfig;
  readonly layout: Layout;
  readonly memory: SharedMemoryHandle;
}

/** A vCPU with the paging assistance that serves it. */
export class HostedVcpu {
  readonly vcpu: Vcpu;
  readonly base: PagingBase;
  readonly paging: PagingInterface;
  /** The locks that this vCPU holds, for the check at an operation's end. */
  readonly held: HeldLocks;

  constructor(base: PagingBase, paging: PagingInterface, held: HeldLocks) {
    this.vcpu = base.vcpu;
    this.base = base;
    this.paging = paging;
    this.held = held;
  }

  /** The parts of shadow mode, for checks and for variants of single ones. Throws in another mode. */
  get shadow(): Shadow {
    return shadowOf(this.paging);
  }
}

/** CR0 after INIT: caches off, 387 present, no protection (SDM vol. 3, 10.1.1). */
const CR0_RESET = 0x6000_0010;
/** P, RW, US, A, D and PS: the identity table's 4 MiB entries (spec 1.6). */
const IDENTITY_FLAGS = 0xe7;
/** Frames that are neither guest memory nor pool: the unused frame 0 and the identity table. */
const EXTRA_FRAMES = 2;
/** Frames that a balloon or remap program may use beyond the guest's memory. */
const SPARE_FRAMES = 64;
/** Odd, so that stepping by it visits every frame once: consecutive gfns get scattered mfns. */
const SCATTER = 7919;

/** One thread's view of a machine. */
export class Machine {
  readonly handle: MachineHandle;
  readonly config: MachineConfig;
  readonly layout: Layout;
  readonly memory: SharedMemory;
  readonly frames: FrameTable;
  readonly domain: Domain;
  readonly p2m: P2m;

  private constructor(config: MachineConfig, layout: Layout, memory: SharedMemory) {
    this.handle = { config, layout, memory: memory.handle };
    this.config = config;
    this.layout = layout;
    this.memory = memory;
    this.frames = new FrameTable(memory, layout);
    this.domain = new Domain(memory, layout);
    this.p2m = new P2m(memory, layout);
  }

  /** A new machine: memory given to the guest, pool filled, no vCPU running. Throws RangeError when the host has no room. */
  static create(config: MachineConfig, clock: Clock): Machine {
    const layout = layOut({
      vcpus: config.vcpus,
      frames: EXTRA_FRAMES + SPARE_FRAMES + config.ramPages + config.poolPagesMax,
      ramPages: config.ramPages,
      tlbSets: config.tlbSets,
      tlbWays: config.tlbWays,
      structureCacheEntries: config.structureCacheEntries,
    });
    const machine = new Machine(config, layout, SharedMemory.create(layout.words));
    machine.#freeAllFrames();
    machine.#build(clock);
    return machine;
  }

  /** The machine of another thread; through `memory`, if somebody watches what is done. */
  static attach(handle: MachineHandle, memory: SharedMemory = SharedMemory.attach(handle.memory)): Machine {
    return new Machine(handle.config, handle.layout, memory);
  }

  /** Guest memory as the boot loader sees it. */
  guestRam(): GuestMemory {
    return new GuestMemory(this.memory, this.p2m, this.config.ramPages);
  }

  /** A vCPU, created by the thread that runs it. It is as after reset, on the identity table, and not started. */
  createVcpu(id: VcpuId, clock: Clock): HostedVcpu {
    const hosted = this.#host(id, clock);
    hosted.vcpu.setRegister(VcpuCell.cr0, CR0_RESET);
    hosted.vcpu.exits = hosted.paging;
    hosted.paging.initVcpu();
    return hosted;
  }

  /** A vCPU that was created before, as it was left: for engines that begin in the middle of a run. Not started. */
  resumeVcpu(id: VcpuId, clock: Clock): HostedVcpu {
    const hosted = this.#host(id, clock);
    hosted.vcpu.exits = hosted.paging;
    return hosted;
  }

  /** The toolstack's view: there is one a machine, and its thread has the number after the last vCPU. */
  createToolstack(clock: Clock): DomainControl {
    return this.controlBy(this.#host(vcpuId(this.config.vcpus), clock));
  }

  /** The domain's control in the hands of a vCPU's own thread, when the vCPU has ended. */
  controlBy({ base, paging }: HostedVcpu): DomainControl {
    return new DomainControl(base, paging, base.p2mLock);
  }

  #host(id: VcpuId, clock: Clock): HostedVcpu {
    const { memory, layout, config, frames, domain, p2m } = this;
    const vcpu = new Vcpu(memory, layout, id, clock);
    const held = new HeldLocks(vcpu);
    const heapLock = new RecursiveLock(memory, layout, "heap", config.lockKind, vcpu, held);
    const heap = new Heap(memory, frames, domain, heapLock, config.reuse);
    const parts = new Parts(memory, layout, vcpu, held);
    const divided = config.granularity === "page" ? parts : null;
    const lock = new RecursiveLock(memory, layout, "paging", config.lockKind, vcpu, held, divided);
    const device = new Device();
    const p2mLock = new RecursiveLock(memory, layout, "p2m", config.lockKind, vcpu, held);
    const wanted = new WantedPage();
    const base = { vcpu, memory, layout, config, frames, domain, heap, p2m, lock, device, p2mLock, wanted };
    const pageLocks = {
      parts,
      tableLock: new PageLock(memory, layout, "table", vcpu, held),
      frameLock: new PageLock(memory, layout, "frame", vcpu, held),
    };
    const paging =
      config.paging === "hap" ? new HapPaging(new Hap(base)) : new ShadowPaging(new Shadow(base, pageLocks));
    return new HostedVcpu(base, paging, held);
  }

  /** Links every frame into the heap's free list, scattered, so that no mfn equals its gfn by accident. */
  #freeAllFrames(): void {
    const { frames, domain, layout } = this;
    const count = layout.sizes.frames - 1;
    const step = coprimeStep(count);
    let previous = 0;
    for (let index = 0, at = step % count; index < count; index++, at = (at + step) % count) {
      const frame = mfn(at + 1);
      frames.setUse(frame, FrameUse.heap);
      if (previous === 0) domain.write(DomainCell.heapHead, frame);
      else frames.setNextFrame(mfn(previous), frame);
      previous = frame;
    }
    domain.write(DomainCell.heapTail, previous);
    domain.write(DomainCell.heapFree, count);
  }

  #build(clock: Clock): void {
    const { config, domain, p2m, frames, memory } = this;
    const { base, paging } = this.#host(vcpuId(config.vcpus), clock);
    for (let gfn = 0; gfn < config.ramPages; gfn++) {
      const frame = base.heap.allocate(FrameUse.guest);
      frames.setCount(frame, 1);
      frames.setBack(frame, gfn);
      p2m.writeEntry(gfn, frame, P2mType.ramRw);
    }
    const identity = base.heap.allocate(FrameUse.guest);
    frames.setCount(identity, 1);
    frames.setBack(identity, -1);
    frames.setPageType(identity, PageType.identityPagetable);
    for (let index = 0; index < PAGE_WORDS; index++)
      memory.storeWord((identity << 10) | index, (index << 22) | IDENTITY_FLAGS);
    domain.write(DomainCell.unpagedTable, identity);
    paging.initDomain();
  }
}

/** A step near `SCATTER` that visits every one of `count` places. */
function coprimeStep(count: number): number {
  let step = SCATTER;
  while (greatestCommonDivisor(step, count) !== 1) step++;
  return step;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
