/**
 * The audit: everything that must hold of a machine whose vCPUs are parked and whose locks are free (spec 15, Appendix
 * B). To add an invariant, write it and list it; the tests want a planted fault for each.
 */
import type { Finding } from "../machine/vcpu.ts";
import type { Machine } from "../hypervisor/machine.ts";
import {
  heapIsComplete,
  pageCountsAreExact,
  pagetablesAreReadOnly,
  pinnedListIsExact,
  poolIsComplete,
  shadowCountsAreExact,
  typecountsAreExact,
  upwardLinksAreTrue,
} from "./audit-counts.ts";
import {
  entriesGrantNoMore,
  leavesFollowP2m,
  magicEntriesAreTrue,
  upperEntriesFollowGuest,
} from "./audit-entries.ts";
import { flagsMatchShadows, shadowsAreHashed, shadowsAreUnique } from "./audit-hash.ts";
import { rootsAreLoaded } from "./audit-roots.ts";
import { cachedTablesAreTables, tlbsMapGuestMemory, tlbsRespectPagetables } from "./audit-tlb.ts";
import type { Invariant } from "./invariant.ts";
import { MachineView } from "./machine-view.ts";

/** Every invariant, in the order in which it is worth reading about its failure. */
export const INVARIANTS: readonly Invariant[] = [
  tlbsRespectPagetables,
  tlbsMapGuestMemory,
  cachedTablesAreTables,
  entriesGrantNoMore,
  leavesFollowP2m,
  magicEntriesAreTrue,
  upperEntriesFollowGuest,
  rootsAreLoaded,
  pagetablesAreReadOnly,
  typecountsAreExact,
  pageCountsAreExact,
  shadowCountsAreExact,
  upwardLinksAreTrue,
  shadowsAreHashed,
  shadowsAreUnique,
  flagsMatchShadows,
  pinnedListIsExact,
  poolIsComplete,
  heapIsComplete,
];

/** Findings of one invariant that are kept: the rest say the same. */
const KEPT_PER_INVARIANT = 5;

/** Audits a machine at rest. `vcpu` of a finding is -1: it is nobody's in particular. */
export function auditMachine(machine: Machine): Finding[] {
  if (machine.domain.isDead()) return [];
  const view = new MachineView(machine);
  const findings: Finding[] = [];
  for (const invariant of INVARIANTS) {
    let kept = 0;
    for (const message of invariant.violations(view)) {
      if (kept === KEPT_PER_INVARIANT) break;
      findings.push({ check: `audit ${invariant.name}`, vcpu: -1, message });
      kept++;
    }
  }
  return findings;
}
