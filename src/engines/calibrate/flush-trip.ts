/** What flushes cost the model's own code: one's own, one that is served, and one that another vCPU is asked for. */
import type { MachineHandle } from "../../hypervisor/machine.ts";
import { Machine } from "../../hypervisor/machine.ts";
import { machineConfig } from "../../hypervisor/machine-config.ts";
import { vcpuId } from "../../memory/units.ts";
import { Doorbell } from "../../memory/vcpu-area.ts";
import { ring } from "../../memory/wait.ts";
import type { MeasuredTime } from "../../report/types.ts";
import { RealClock } from "../real-clock.ts";
import type { Partner } from "./partner.ts";
import { measureRounds } from "./rounds.ts";

const FLUSHES = 64;

/** A machine with two vCPUs and no guest. */
export function idleMachine(): MachineHandle {
  return Machine.create(machineConfig({ vcpus: 2, ramPages: 64 }), new RealClock()).handle;
}

/** Measures each for so long; both threads call it. What a thread measured itself comes back. */
export function measureFlushes(
  partner: Partner,
  handle: MachineHandle,
  milliseconds: number,
): MeasuredTime[] {
  const { vcpu } = Machine.attach(handle).createVcpu(vcpuId(partner.me), new RealClock());
  vcpu.start();
  if (partner.me === 1) {
    partner.follow(() => {
      while (!partner.isOver()) vcpu.poll();
    });
    vcpu.stop();
    return [];
  }
  const { mailbox, memory, area } = vcpu;
  const trip = partner.lead(() =>
    measureRounds(milliseconds, FLUSHES, () => {
      for (let flush = 0; flush < FLUSHES; flush++) mailbox.flushAll();
    }),
  );
  const local = measureRounds(milliseconds, FLUSHES, () => {
    for (let flush = 0; flush < FLUSHES; flush++) mailbox.flushLocal();
  });
  const served = measureRounds(milliseconds, FLUSHES, () => {
    for (let flush = 0; flush < FLUSHES; flush++) {
      ring(memory, area, Doorbell.flush);
      mailbox.serve();
    }
  });
  vcpu.stop();
  return [
    {
      name: "flush trip",
      about: "a flush of all of two vCPUs, of which the other does nothing else but serve",
      ...trip,
    },
    { name: "local flush", about: "a vCPU empties its own TLB", ...local },
    { name: "served flush", about: "a vCPU rings its own doorbell and serves the flush", ...served },
  ];
}
