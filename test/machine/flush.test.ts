/** Flushes between vCPUs on real threads: request, service, acknowledgment (spec 20.2, 14.8). */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { Machine } from "../../src/hypervisor/machine.ts";
import type { HostedVcpu } from "../../src/hypervisor/machine.ts";
import { machineConfig } from "../../src/hypervisor/machine-config.ts";
import { Tlb } from "../../src/machine/tlb.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { Doorbell, VcpuCell, VcpuState, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { ring } from "../../src/memory/wait.ts";
import { CACHED } from "./flush-target.ts";
import type { FlushTarget } from "./flush-target.ts";

const clock = { now: (): number => 0 };

interface Pair {
  readonly machine: Machine;
  readonly requester: HostedVcpu;
  /** Whether the target's TLB still holds the page. */
  readonly isCached: () => boolean;
}

/** Runs a test with a target that behaves so, and ends the target afterwards. */
async function withTarget(behaviour: FlushTarget["behaviour"], act: (pair: Pair) => Promise<void> | void) {
  const machine = Machine.create(machineConfig({ vcpus: 2, ramPages: 64 }), clock);
  const requester = machine.createVcpu(vcpuId(0), clock);
  requester.vcpu.start();
  const target: FlushTarget = { handle: machine.handle, behaviour };
  const worker = new Worker(new URL("flush-target.ts", import.meta.url), { workerData: target });
  const exit = once(worker, "exit");
  await once(worker, "message");
  const tlb = new Tlb(machine.memory, machine.layout, vcpuId(1));
  await act({ machine, requester, isCached: () => tlb.find(CACHED, 0) >= 0 });
  ring(machine.memory, vcpuArea(machine.layout, vcpuId(1)), Doorbell.stop);
  expect(await exit).toEqual([0]);
}

function stateOf(machine: Machine): number {
  return machine.memory.loadWord(vcpuArea(machine.layout, vcpuId(1)) + VcpuCell.state);
}

describe("a flush of all vCPUs", () => {
  test("returns when the other vCPU has emptied its TLB, not before", async () => {
    await withTarget("polls", ({ requester, isCached }) => {
      expect(isCached()).toBe(true);
      requester.vcpu.mailbox.flushAll();
      expect(isCached()).toBe(false);
    });
  });

  test("is seen to be dropped when the other vCPU acknowledges without flushing", async () => {
    await withTarget("acknowledges without flushing", ({ requester, isCached }) => {
      requester.vcpu.mailbox.flushAll();
      expect(isCached()).toBe(true);
    });
  });

  test("does not wait for a vCPU that is halted", async () => {
    await withTarget("halts", async ({ machine, requester }) => {
      await expect.poll(() => stateOf(machine)).toBe(VcpuState.halted);
      expect(requester.vcpu.mailbox.flushWhere(0, false)).toBe(1);
    });
  });

  test("does not wait for a vCPU that has ended", async () => {
    await withTarget("ends", ({ machine, requester }) => {
      expect(stateOf(machine)).toBe(VcpuState.ended);
      expect(requester.vcpu.mailbox.flushWhere(0, false)).toBe(1);
    });
  });

  test("spares vCPUs that have flushed since the time given", async () => {
    await withTarget("polls", ({ machine, requester }) => {
      const { mailbox } = requester.vcpu;
      const freedAt = mailbox.time();
      mailbox.flushAll();
      expect(mailbox.flushWhere(freedAt, true)).toBe(0);
      expect(mailbox.flushWhere(mailbox.time(), true)).toBe(2);
      expect(stateOf(machine)).toBe(VcpuState.running);
    });
  });
});
