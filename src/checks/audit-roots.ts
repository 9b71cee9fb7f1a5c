/** Invariants of what vCPUs run on (I2, I6; spec 9.2). */
import { Doing, VcpuCell } from "../memory/vcpu-area.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { ShadowType, rootTypeOf } from "../hypervisor/shadow/shadow-type.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView, ShadowInfo } from "./audit-view.ts";

const PRESENT = 1;
const ROOTS = 4;

/** A vCPU's root slots hold roots of its format, and hardware starts from exactly those; PDPTEs carry only P. */
export const rootsAreLoaded: Invariant = {
  name: "roots-are-loaded",
  source: "spec 9.2, I2",
  because: "hardware walks a tree that nobody holds for it, or the one of another address space",
  topic: "any",
  inFlight:
    "a vCPU inside MOV CR walks nothing of the guest's, and may load its new root after it has let go of the lock: whether " +
    "the old one still lives is seen when it is walked",
  *violations(view) {
    for (const { vcpu, area } of view.vcpuAreas()) {
      const levels = view.memory.loadWord(area + VcpuCell.shadowLevels);
      if (levels === 0) continue;
      if (view.isLive && view.memory.loadPrivate(area + VcpuCell.doing) === Doing.writeCr) continue;
      const format = view.memory.loadWord(area + VcpuCell.guestLevels);
      const roots: (ShadowInfo | undefined)[] = [];
      for (let slot = 0; slot < ROOTS; slot++) {
        const root = view.memory.loadGuarded(area + VcpuCell.roots + slot);
        roots.push(view.shadowWith(root));
        if (root !== 0 && view.shadowWith(root)?.type !== rootTypeOf(format))
          yield `root slot ${String(slot)} of vCPU ${String(vcpu)} holds ${hex(root)}, which is no root of ${String(format)} levels`;
      }
      if (levels === 4) yield* rootRegister(view, vcpu, area, roots[0]);
      else yield* pdptes(view, vcpu, area, roots);
    }
  },
};

function* rootRegister(
  view: AuditView,
  vcpu: number,
  area: number,
  root: ShadowInfo | undefined,
): Iterable<string> {
  const loaded = view.memory.loadWord(area + VcpuCell.hardwareRoot);
  if (loaded !== (root?.head ?? 0))
    yield `vCPU ${String(vcpu)} walks from ${hex(loaded)}, its root is ${hex(root?.head ?? 0)}`;
}

/** Of a 2-on-3 root the four pages, of PAE roots the four. */
function* pdptes(
  view: AuditView,
  vcpu: number,
  area: number,
  roots: readonly (ShadowInfo | undefined)[],
): Iterable<string> {
  const [first] = roots;
  for (let slot = 0; slot < ROOTS; slot++) {
    const due = first?.type === ShadowType.l2_32 ? first.pages[slot] : roots[slot]?.head;
    const low = view.memory.loadEntry(area + VcpuCell.pdptes + 2 * slot);
    const frame = frameOfEntry(low, view.memory.high);
    const isRight = due === undefined ? low === 0 : frame === due && (low & 0xfff) === PRESENT;
    if (!isRight)
      yield `PDPTE ${String(slot)} of vCPU ${String(vcpu)} is ${hex(low)}, its root is ${hex(due ?? 0)}`;
  }
}
