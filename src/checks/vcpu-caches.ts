/** What a vCPU has cached, read from outside. */
import { vcpuId } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { Tlb } from "../machine/tlb.ts";
import { StructureCache } from "../machine/structure-cache.ts";
import type { Machine } from "../hypervisor/machine.ts";
import type { TlbLine } from "./audit-view.ts";

/** The valid entries of a vCPU's TLB. */
export function tlbLinesOf({ memory, layout }: Machine, vcpu: number): TlbLine[] {
  const lines: TlbLine[] = [];
  new Tlb(memory, layout, vcpuId(vcpu)).forEach((tagLow, tagHigh, frame, flags) => {
    const page = (tagHigh * 2 ** 32 + (tagLow >>> 0)).toString(16);
    lines.push({ vcpu, page, frame, flags });
  });
  return lines;
}

/** The tables that a vCPU's paging-structure cache points to. */
export function cachedTablesOf(
  { memory, layout }: Machine,
  vcpu: number,
): { readonly vcpu: number; readonly table: Mfn }[] {
  const tables: { vcpu: number; table: Mfn }[] = [];
  new StructureCache(memory, layout, vcpuId(vcpu)).forEach((table) => {
    tables.push({ vcpu, table });
  });
  return tables;
}
