/**
 * The invariant of types of pages: what the p2m calls read-only is (spec 4.8 rule 13, 12.2, 12.5). That of the p2m tables,
 * where there are any, is in audit-nested.ts.
 */
import type { Mfn } from "../memory/units.ts";
import { TlbFlag } from "../machine/tlb.ts";
import { isReadOnlyEntry, p2mTypeName, typeInP2mEntry } from "../hypervisor/p2m-type.ts";
import { shadowTypeName } from "../hypervisor/shadow/shadow-type.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView } from "./audit-view.ts";

const WRITABLE = 2;

/** No leaf and no TLB lets memory be written whose type is read-only or log-dirty. */
export const readOnlyPagesAreProtected: Invariant = {
  name: "read-only-pages-are-protected",
  source: "spec 4.8, 12.2, 12.5",
  because: "the guest changes what it must not, or nobody notices that it has",
  topic: "any",
  inFlight:
    "a page's type changes under the lock, which is held until its mappings are gone and all have flushed; a vCPU that is not " +
    "running, or has yet to empty its TLB on its way to running, uses nothing that it holds",
  *violations(view) {
    for (const { shadow, index, low, frame } of view.leaves)
      if ((low & WRITABLE) !== 0 && isProtected(view, frame)) {
        const name = `${shadowTypeName(shadow.type)} shadow ${hex(shadow.head)} entry ${String(index)}`;
        yield `${name} lets ${describe(view, frame)} be written`;
      }
    for (const { vcpu, page, frame, flags } of view.tlbLines())
      if ((flags & TlbFlag.writable) !== 0 && isProtected(view, frame))
        yield `vCPU ${String(vcpu)} can write ${describe(view, frame)} through its TLB, page 0x${page}`;
  },
};

/** What the p2m says of the gfn of a frame; 0 when the frame is not there, for others to find. */
function entryAt({ frames, machine }: AuditView, frame: Mfn): number {
  const gfn = frames.back(frame);
  return machine.p2m.frameOf(gfn) === frame ? machine.p2m.entryOf(gfn) : 0;
}

function isProtected(view: AuditView, frame: Mfn): boolean {
  return isReadOnlyEntry(entryAt(view, frame));
}

function describe(view: AuditView, frame: Mfn): string {
  return `gfn ${hex(view.frames.back(frame))}, which is ${p2mTypeName(typeInP2mEntry(entryAt(view, frame)))},`;
}
