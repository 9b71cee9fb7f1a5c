/** What is looked at in a machine whose vCPUs are all parked or have ended. One place, for every kind of look. */
import { crashText, DomainCell } from "../../memory/domain-area.ts";
import { LOCK_NAMES } from "../../memory/layout.ts";
import { describeLock } from "../../locks/lock-statistics.ts";
import { pageLocksHeld } from "../../locks/page-lock.ts";
import { partHolders } from "../../locks/parts.ts";
import type { Machine } from "../../hypervisor/machine.ts";
import type { Violation } from "../../report/types.ts";
import { auditMachine } from "../../checks/audit.ts";
import { RealClock } from "../real-clock.ts";
import { firstLine } from "../usage.ts";

/** Everything that is wrong with a machine at rest. */
export function auditAtRest(machine: Machine): Violation[] {
  return [...crash(machine), ...invariants(machine)];
}

function invariants(machine: Machine): readonly Violation[] {
  try {
    return auditMachine(machine);
  } catch (error) {
    // A list that leads nowhere, say: that the audit cannot even be made is a finding too.
    return [{ check: "audit", vcpu: -1, message: `The audit failed: ${firstLine(error)}.` }];
  }
}

/** Every lock that somebody holds, when nobody may. */
export function locksLeftHeld(machine: Machine): Violation[] {
  return [...areasLeftHeld(machine), ...partsLeftHeld(machine)];
}

function partsLeftHeld({ memory, layout, config }: Machine): Violation[] {
  if (config.granularity === "domain") return [];
  const parts = partHolders(memory, layout).map((vcpu) => ({ vcpu, what: "a part of the paging lock" }));
  const pages = pageLocksHeld(memory, layout).map(({ name, frame, vcpu }) => ({
    vcpu,
    what: `the ${name} lock of mfn 0x${frame.toString(16)}`,
  }));
  return [...parts, ...pages].map(({ vcpu, what }) => ({
    check: "lock-held-at-exit",
    vcpu,
    message: `${vcpu === layout.sizes.vcpus ? "The toolstack" : `vCPU ${String(vcpu)}`} has ended while it holds ${what}.`,
  }));
}

function areasLeftHeld({ memory, layout }: Machine): Violation[] {
  return LOCK_NAMES.flatMap((_, index) => {
    const { name, vcpu, site = "no known place" } = describeLock(memory, layout, index);
    if (vcpu === undefined) return [];
    const holder = vcpu === layout.sizes.vcpus ? "The toolstack" : `vCPU ${String(vcpu)}`;
    return [
      {
        check: "lock-held-at-exit",
        vcpu,
        message: `${holder} has ended while it holds the ${name} lock taken at ${site}.`,
      },
    ];
  });
}

/** Takes the domain apart; what was left over, a sentence each without its full stop. */
export function leaksOf(machine: Machine): string[] {
  try {
    return machine.createToolstack(new RealClock()).teardown();
  } catch (error) {
    return [`the domain cannot be taken apart: ${firstLine(error)}`];
  }
}

/** Whether somebody destroyed the domain. */
export function isDestroyed({ memory, layout }: Machine): boolean {
  return memory.loadWord(layout.regions.domain.offset + DomainCell.dying) !== 0;
}

function crash({ memory, layout }: Machine): Violation[] {
  const { offset } = layout.regions.domain;
  const reason = memory.loadWord(offset + DomainCell.crashed);
  if (reason === 0) return [];
  const frame = memory.loadWord(offset + DomainCell.crashFrame);
  const message = `The domain crashed: ${crashText(reason)} (mfn 0x${frame.toString(16)}).`;
  return [{ check: "domain-crash", vcpu: -1, message }];
}
