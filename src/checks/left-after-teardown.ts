/** What a domain that was taken apart still has: nothing, whatever came after its end. */
import type { Machine } from "../hypervisor/machine.ts";
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse } from "../memory/frame-table.ts";
import { NO_MFN, mfn } from "../memory/units.ts";
import { hex } from "./hex.ts";

/** What is left, a sentence each without its full stop; nothing while the domain has not been taken apart. */
export function leftAfterTeardown({ domain, frames, p2m }: Machine): string[] {
  if (domain.read(DomainCell.tornDown) === 0) return [];
  const left: string[] = [];
  for (let gfn = 0; gfn < p2m.ramPages; gfn++) {
    const frame = p2m.ownFrameOf(gfn);
    if (frame !== NO_MFN) left.push(`gfn ${hex(gfn)} still has frame ${hex(frame)}`);
  }
  for (let number = 1; number < frames.frames; number++)
    if (frames.use(mfn(number)) === FrameUse.pool) left.push(`frame ${hex(number)} still is the pool's`);
  return left;
}
