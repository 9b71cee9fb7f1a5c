/** What a vCPU's registers and privilege forbid or waive of every access, kept at hand for TLB hits. */
import { VcpuCell } from "../memory/vcpu-area.ts";
import { Cr0, Cr4 } from "./control-registers.ts";
import type { Vcpu } from "./vcpu.ts";

const WRITABLE = 2;
const USER = 4;
const IMPLICIT_SUPERVISOR = 1 << 18;

/** Works out `forbidData`, `forbidFetch` and `waived` anew. */
export function refreshStandingRights(vcpu: Vcpu): void {
  // Paging may be off for the guest although hardware walks tables for it: then there is neither SMAP nor SMEP.
  const cr4 = vcpu.register(VcpuCell.pagingOn) === 0 ? 0 : vcpu.register(VcpuCell.cr4);
  const isSupervisor = (vcpu.accessBits & USER) === 0;
  const isImplicit = (vcpu.accessBits & IMPLICIT_SUPERVISOR) !== 0;
  const hasSmap = (cr4 & Cr4.smap) !== 0 && (isImplicit || !vcpu.alignmentCheck);
  vcpu.forbidData = isSupervisor && hasSmap ? USER : 0;
  vcpu.forbidFetch = isSupervisor && (cr4 & Cr4.smep) !== 0 ? USER : 0;
  // Shadows are walked with WP set, whatever the guest has (spec 10.2).
  const heedsWrite = !vcpu.hasNestedPaging() || (vcpu.register(VcpuCell.cr0) & Cr0.wp) !== 0;
  vcpu.waived = isSupervisor && !heedsWrite ? WRITABLE : 0;
}
