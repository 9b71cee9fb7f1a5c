/** Locks that planted faults take behind the hypervisor's back. */
import type { Cpu } from "umbra";
import { LockSite } from "../../../../src/locks/lock-class.ts";
import type { LockName } from "../../../../src/locks/lock-class.ts";
import { HeldLocks } from "../../../../src/locks/held-locks.ts";
import { RecursiveLock } from "../../../../src/locks/lock.ts";

/** Takes a lock as the vCPU that a program runs on. `held` lets an order be wrong without being reported. */
export function takeLock(cpu: Cpu, name: LockName): void {
  const { vcpu } = cpu;
  new RecursiveLock(vcpu.memory, vcpu.layout, name, "test-and-set", vcpu, new HeldLocks(vcpu)).acquire(
    LockSite.test,
  );
}
