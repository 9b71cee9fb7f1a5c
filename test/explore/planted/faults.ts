/**
 * Faults planted in the hypervisor from outside, as mutants are: each replaces a part of one vCPU's hypervisor by a wrong
 * one. They are loaded as coroutines, like the model; a call of `super` is one that the rewriter knows.
 */
import type { HostedVcpu } from "../../../src/hypervisor/machine.ts";
import { FaultHandler } from "../../../src/hypervisor/shadow/fault.ts";
import { Pool } from "../../../src/hypervisor/shadow/pool.ts";
import { P2mType, p2mEntry, ramInP2mEntry } from "../../../src/hypervisor/p2m-type.ts";
import { Propagation } from "../../../src/hypervisor/shadow/propagate.ts";
import { EntrySetter } from "../../../src/hypervisor/shadow/set-entry.ts";
import { LockSite } from "../../../src/locks/lock-class.ts";
import { RecursiveLock } from "../../../src/locks/lock.ts";
import { FaultAnswer } from "../../../src/machine/exits.ts";
import { Tlb } from "../../../src/machine/tlb.ts";
import { NO_MFN, mfn } from "../../../src/memory/units.ts";
import type { Mfn } from "../../../src/memory/units.ts";

const ACCESSED = 32;

/** A fault: changes the hypervisor of a vCPU that has just been made. */
export type Fault = (hosted: HostedVcpu) => void;

/** Revoking rights flushes nobody else's TLB. */
export function flushesOnlyItself({ shadow }: HostedVcpu): void {
  shadow.flushAll = () => {
    shadow.vcpu.mailbox.flushLocal();
  };
}

/** A page that was freed is used again without the flush that was put off until then. */
export function reusesWithoutFlush({ vcpu }: HostedVcpu): void {
  const { mailbox } = vcpu;
  mailbox.flushWhere = (_, staleOnly) => {
    if (!staleOnly) mailbox.flushLocal();
    return 0;
  };
}

/** A mapping that is taken away keeps its reference. */
export function keepsReferences({ shadow }: HostedVcpu): void {
  shadow.pages.putMapping = () => {
    shadow.domain.isDead();
  };
}

/** INVLPG does nothing. */
export function ignoresInvlpg({ paging, vcpu }: HostedVcpu): void {
  paging.invlpg = () => {
    vcpu.memory.loadWord(vcpu.area);
    return false;
  };
}

/** hap: the TLB gets another frame than the walk in two dimensions came to. */
export function cachesNextFrame({ vcpu }: HostedVcpu): void {
  class Shifting extends Tlb {
    override insert(low: number, high: number, frame: number, flags: number): void {
      super.insert(low, high, frame + 1, flags);
    }
  }
  Object.assign(vcpu, { tlb: new Shifting(vcpu.memory, vcpu.layout, vcpu.id) });
}

/** A guest entry that was propagated loses the A bit that the walk has just set. */
export function clearsAccessed({ shadow }: HostedVcpu): void {
  class Clearing extends Propagation {
    override leaf(
      low: number,
      high: number,
      entry: number,
      gfn: number,
      format: number,
      fetch: number,
    ): void {
      super.leaf(low, high, entry, gfn, format, fetch);
      const cell = shadow.guest.walker.entryCell[1] ?? 0;
      if (cell !== 0) shadow.memory.andWord(cell, ~ACCESSED);
    }
  }
  Object.assign(shadow, { propagation: new Clearing(shadow) });
}

/** A shadow is looked at once more after it was freed. */
export function readsFreedShadows({ shadow }: HostedVcpu): void {
  class Reading extends Pool {
    override free(head: Mfn): void {
      super.free(head);
      shadow.memory.loadEntry(head << 10);
    }
  }
  Object.assign(shadow, { pool: new Reading(shadow) });
}

/** Write access is not revoked from a page that becomes a pagetable. */
export function revokesNothing({ shadow }: HostedVcpu): void {
  shadow.revocation.revokeWriteAccess = (frame) => {
    shadow.frames.typecount(frame);
    return 0;
  };
}

/** Leaves map the frame after the right one. */
export function mapsNextFrame({ shadow }: HostedVcpu): void {
  class Wrong extends Propagation {
    override leaf(
      low: number,
      high: number,
      entry: number,
      gfn: number,
      format: number,
      fetch: number,
    ): void {
      const frame = ramInP2mEntry(entry);
      const wrong = frame === NO_MFN ? entry : p2mEntry(mfn(frame + 1), P2mType.ramRw);
      super.leaf(low, high, wrong, gfn, format, fetch);
    }
  }
  Object.assign(shadow, { propagation: new Wrong(shadow) });
}

/** A shadow entry is written in two halves. */
export function writesHalves({ shadow }: HostedVcpu): void {
  class Halving extends EntrySetter {
    override setLeaf(cell: number, wantedLow: number, wantedHigh: number): number {
      const result = super.setLeaf(cell, wantedLow, wantedHigh);
      shadow.memory.storeWord(cell, shadow.memory.loadWord(cell));
      return result;
    }
  }
  Object.assign(shadow, { entries: new Halving(shadow) });
}

/** The flags of a page are looked at before the lock is taken. */
export function looksBeforeLocking({ shadow }: HostedVcpu): void {
  class Hasty extends FaultHandler {
    override handle(errorCode: number): number {
      shadow.frames.shadowFlags(mfn(1));
      return super.handle(errorCode);
    }
  }
  Object.assign(shadow, { fault: new Hasty(shadow) });
}

/** The heap's lock is taken first, the paging lock inside it. */
export function locksInsideHeap(hosted: HostedVcpu): void {
  const { shadow, held, vcpu } = hosted;
  const heapLock = new RecursiveLock(
    shadow.memory,
    shadow.layout,
    "heap",
    shadow.config.lockKind,
    vcpu,
    held,
  );
  class Nesting extends FaultHandler {
    override handle(errorCode: number): number {
      heapLock.acquire(LockSite.test);
      shadow.lock.acquire(LockSite.page_fault);
      shadow.lock.release();
      heapLock.release();
      return super.handle(errorCode);
    }
  }
  Object.assign(shadow, { fault: new Nesting(shadow) });
}

/** A locked instruction reads and writes in two steps. */
export function altersInTwoSteps({ vcpu }: HostedVcpu): void {
  const { physical } = vcpu;
  physical.alter = (address, size, by) => {
    physical.read(address, size);
    const { low } = physical;
    physical.write(address, size, low + by.valueLow, 0);
  };
}

/** The emulator of instructions writes to tables, and their shadows never hear of it. */
export function emulatesPastShadows({ shadow }: HostedVcpu): void {
  shadow.validation.validate = (frame) => {
    shadow.frames.shadowFlags(frame);
  };
}

/** No fault is ever fixed. */
export function fixesNothing({ shadow }: HostedVcpu): void {
  class Idle extends FaultHandler {
    override handle(): number {
      shadow.lock.acquire(LockSite.page_fault);
      shadow.lock.release();
      return FaultAnswer.retry;
    }
  }
  Object.assign(shadow, { fault: new Idle(shadow) });
}
