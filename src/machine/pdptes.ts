/** The PDPTE registers of PAE paging: MOV CR3 loads them, and until the next one memory is not looked at (SDM vol. 3, 4.4.1). */
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Cell } from "../memory/units.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";

/** Four entries of 8 bytes, at a multiple of 32: CR3 bits 5 to 11 say which. Bits 3 and 4 are cache control. */
const TABLE_WORDS = 8;
const CR3_TABLE_MASK = 0xfe0;

/** Loads a vCPU's copy of the guest's PDPTEs from the page with the table, or zeroes when there is none (0). */
export function loadPdptes(memory: SharedMemory, area: Cell, page: number, cr3: number): void {
  const start = (page << 10) | ((cr3 & CR3_TABLE_MASK) >>> 2);
  for (let word = 0; word < TABLE_WORDS; word += 2) {
    const low = page === 0 ? 0 : memory.loadEntry(start + word);
    memory.storeEntry(area + VcpuCell.guestPdptes + word, low, page === 0 ? 0 : memory.high);
  }
}
