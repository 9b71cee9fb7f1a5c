/** Threads of replayed vCPUs with one fault each, planted in vCPU 0 by overriding one method of one part. */
import type { ReplayOutcome } from "../../../src/engines/replay/outcome.ts";
import { replayVcpu } from "../../../src/engines/replay/replay-vcpu.ts";
import type { ReplayTask } from "../../../src/engines/replay/replay-vcpu.ts";
import { HapPaging } from "../../../src/hypervisor/hap/hap-paging.ts";
import type { HostedVcpu } from "../../../src/hypervisor/machine.ts";
import { Revoked } from "../../../src/hypervisor/shadow/revoke.ts";
import { isWritableEntry } from "../../../src/machine/entry.ts";
import type { Vcpu } from "../../../src/machine/vcpu.ts";
import { mfn } from "../../../src/memory/units.ts";

/** Operations after which a thread that shall fail does. */
const SOME_OPERATIONS = 2000;
/** The 4 MiB in whose first walk the faults are. */
const FAULTY_REGION = 2;
/** A page of memory that a corrupted entry leads to. */
const ELSEWHERE = 0x2ff;

/** One writable leaf shadow leads to another page. */
export function corruptedEntry(task: ReplayTask): ReplayOutcome {
  return replayFaulty(task, ({ vcpu, shadow: { entries, p2m } }) => {
    const setLeaf = entries.setLeaf.bind(entries);
    let isCorrupted = false;
    entries.setLeaf = (cell, low, high) => {
      if (isCorrupted || !isFaultyRegion(vcpu) || !isWritableEntry(low)) return setLeaf(cell, low, high);
      isCorrupted = true;
      return setLeaf(cell, (low & 0xfff) | (p2m.frameOf(ELSEWHERE) << 12), high);
    };
  });
}

/** One table keeps its writable mappings when it is shadowed. */
export function skippedRevocation(task: ReplayTask): ReplayOutcome {
  return replayFaulty(task, ({ vcpu, shadow: { revocation, frames } }) => {
    const revoke = revocation.revokeWriteAccess.bind(revocation);
    let isSkipped = false;
    revocation.revokeWriteAccess = (frame, level, low, high) => {
      const isNeeded = level === 1 && frames.typecount(mfn(frame)) > 0;
      if (isSkipped || !isFaultyRegion(vcpu) || !isNeeded) return revoke(frame, level, low, high);
      isSkipped = true;
      return Revoked.nothing;
    };
  });
}

/** The flush that is owed after one revocation is not made. */
export function droppedFlush(task: ReplayTask): ReplayOutcome {
  return replayFaulty(task, ({ vcpu, shadow: { revocation } }) => {
    const revoke = revocation.revokeWriteAccess.bind(revocation);
    const flushAll = vcpu.mailbox.flushAll.bind(vcpu.mailbox);
    let isOwed = false;
    let isDropped = false;
    revocation.revokeWriteAccess = (frame, level, low, high) => {
      const answer = revoke(frame, level, low, high);
      isOwed ||= level === 1 && isFaultyRegion(vcpu) && answer === Revoked.flush;
      return answer;
    };
    vcpu.mailbox.flushAll = () => {
      if (!isOwed || isDropped) flushAll();
      else isDropped = true;
    };
  });
}

/** The thread throws in the middle of its work. */
export function throwing(task: ReplayTask): ReplayOutcome {
  return replayFaulty(task, ({ vcpu, shadow: { fault } }) => {
    const handle = fault.handle.bind(fault);
    fault.handle = (errorCode) => {
      if (vcpu.operations > SOME_OPERATIONS) throw new Error("planted\non two lines");
      return handle(errorCode);
    };
  });
}

/** The vCPU never comes out of a page fault. */
export function hanging(task: ReplayTask): ReplayOutcome {
  return replayFaulty(task, ({ vcpu, shadow: { fault } }) => {
    const handle = fault.handle.bind(fault);
    fault.handle = (errorCode) => {
      for (;;) if (vcpu.operations <= SOME_OPERATIONS) return handle(errorCode);
    };
  });
}

/** In hap one entry of the p2m's tables leads to another page, from one walk on. In shadow mode nothing is wrong. */
export function wrongNestedEntry(task: ReplayTask): ReplayOutcome {
  return replayFaulty(task, ({ vcpu, base, paging }) => {
    if (!(paging instanceof HapPaging)) return;
    const { memory } = base;
    const { nested } = vcpu;
    const translate = nested.translate.bind(nested);
    let left = SOME_OPERATIONS;
    nested.translate = (low, high, access) => {
      const hasPassed = translate(low, high, access);
      left--;
      if (left === 0 && hasPassed) {
        const gfn = base.frames.back(mfn(nested.frame));
        // The entry is where the hypervisor's own store of it goes.
        const storeEntry = memory.storeEntry.bind(memory);
        memory.storeEntry = (cell, entryLow) => {
          storeEntry(cell, (entryLow & 0xfff) | (base.p2m.frameOf(ELSEWHERE) << 12), 0);
        };
        paging.hap.tables.follow(gfn);
        memory.storeEntry = storeEntry;
        vcpu.mailbox.flushLocal();
      }
      return hasPassed;
    };
  });
}

function isFaultyRegion({ faultLow }: Vcpu): boolean {
  return faultLow >>> 22 === FAULTY_REGION;
}

function replayFaulty(task: ReplayTask, plant: (hosted: HostedVcpu) => void): ReplayOutcome {
  return replayVcpu(task, (hosted) => {
    if (task.vcpu === 0) plant(hosted);
  });
}
