/**
 * PAE roots: four registers, as on hardware (spec 9.3). The guest's level 3 table is never shadowed, protected or
 * counted: MOV CR3 takes a snapshot of its four entries, and until the next one only the snapshot is looked at. So data
 * that shares a page with level 3 tables can be written without an exit.
 */
import { loadPdptes } from "../../machine/pdptes.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import type { Shadow } from "./shadow.ts";

/** Takes the snapshot from the guest's root page. The caller holds the paging lock. */
export function snapshotPaeRoot({ memory, vcpu, guest }: Shadow): void {
  const page = guest.register(VcpuCell.guestTable);
  loadPdptes(memory, vcpu.area, page, guest.register(VcpuCell.cr3Low));
}
