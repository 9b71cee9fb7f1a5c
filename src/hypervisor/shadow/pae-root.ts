/**
 * PAE roots: four registers, as on hardware (spec 9.3). The guest's level 3 table is never shadowed, protected or
 * counted: MOV CR3 takes a snapshot of its four entries, and until the next one only the snapshot is looked at. So data
 * that shares a page with level 3 tables can be written without an exit.
 */
import { VcpuCell } from "../../memory/vcpu-area.ts";
import type { Shadow } from "./shadow.ts";

/** Four entries of 8 bytes, at a multiple of 32: CR3 bits 5 to 11 say which. Bits 3 and 4 are cache control. */
const TABLE_WORDS = 8;
const CR3_TABLE_MASK = 0xfe0;

/** Takes the snapshot from the guest's root page. The caller holds the paging lock. */
export function snapshotPaeRoot(shadow: Shadow): void {
  const { memory, vcpu, guest } = shadow;
  const page = guest.register(VcpuCell.guestTable);
  const start = (page << 10) | ((guest.register(VcpuCell.cr3Low) & CR3_TABLE_MASK) >>> 2);
  for (let word = 0; word < TABLE_WORDS; word += 2) {
    const low = page === 0 ? 0 : memory.loadEntry(start + word);
    memory.storeEntry(vcpu.area + VcpuCell.guestPdptes + word, low, page === 0 ? 0 : memory.high);
  }
}
