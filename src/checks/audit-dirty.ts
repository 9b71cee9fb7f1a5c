/** Invariants of the log of dirty pages (I10; V5 of the mutants' list). */
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse } from "../memory/frame-table.ts";
import { mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { TlbFlag } from "../machine/tlb.ts";
import { DIRTY_TREE_LEVELS, DirtyTrees } from "../hypervisor/dirty-tree.ts";
import { ShadowType, shadowTypeName } from "../hypervisor/shadow/shadow-type.ts";
import { pagesWritableByP2m, tablesLent } from "./audit-nested.ts";
import { UNDER_LOCK } from "./invariant.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView } from "./audit-view.ts";

const WRITABLE = 2;
const PAGE_WORDS = 1024;
const NODE_CHILDREN = 512;
/** An audit takes nothing and gives nothing back. */
const NO_PAGES = { canLend: () => false, lendPage: () => mfn(0), takeBack() {} };

/** A page that can be written without a fault is dirty: in the marks of now, or in those a harvest is about to hand over. */
export const writablePagesAreDirty: Invariant = {
  name: "writable-pages-are-dirty",
  source: "spec 11.7, I10, V5",
  because: "what is written to the page is never logged, and a migrated guest lacks it",
  topic: "any",
  inFlight:
    "marks, and leaves that let a marked page be written, are made in one hold of the lock. A harvest owns the marks that " +
    "it has taken until write access is gone and all have flushed",
  *violations(view) {
    const { domain } = view.machine;
    const isKnown = domain.read(DomainCell.failedMarks) === 0 && domain.read(DomainCell.harvestFailed) === 0;
    if (domain.read(DomainCell.logDirty) === 0 || !isKnown) return;
    const isDirty = dirtyPages(view);
    for (const { shadow, index, low, frame } of view.leaves)
      if ((low & WRITABLE) !== 0 && !isDirty(frame)) {
        const name = `${shadowTypeName(shadow.type)} shadow ${hex(shadow.head)} entry ${String(index)}`;
        yield `${name} lets gfn ${hex(view.frames.back(frame))} be written, which is not dirty`;
      }
    for (const { gfn, frame } of pagesWritableByP2m(view))
      if (!isDirty(mfn(frame))) yield `the p2m tables let gfn ${hex(gfn)} be written, which is not dirty`;
    for (const { vcpu, page, frame, flags } of view.tlbLines())
      if ((flags & TlbFlag.writable) !== 0 && !isDirty(frame))
        yield `vCPU ${String(vcpu)} can write gfn ${hex(view.frames.back(frame))} through its TLB, page 0x${page}, and it is not dirty`;
  },
};

/** Whether a frame is a page whose writes need no logging any more: it is dirty, or it is no page of the guest's memory. */
function dirtyPages({ machine, memory, frames }: AuditView): (frame: Mfn) => boolean {
  const trees = new DirtyTrees(memory, NO_PAGES, machine.config.ramPages);
  const now = mfn(machine.domain.read(DomainCell.dirtyTree));
  const taken = mfn(machine.domain.read(DomainCell.harvestTree));
  return (frame) => {
    const gfn = frames.back(frame);
    if (frames.use(frame) !== FrameUse.guest || machine.p2m.frameOf(gfn) !== frame) return true;
    return trees.isSet(now, gfn) || trees.isSet(taken, gfn);
  };
}

/** The tree of dirty pages has as many bits as is said, its nodes are all that the pool has lent, and none is left behind. */
export const dirtyTreesAreExact: Invariant = {
  name: "dirty-trees-are-exact",
  source: "spec 11.5, 12.4, V7",
  because:
    "a node that is lost never returns to the pool; one that is in two trees marks pages that are clean",
  topic: "dirty",
  inFlight: UNDER_LOCK,
  *violations(view) {
    const { domain } = view.machine;
    const nodes = new Set<number>();
    for (const [name, top, count] of [
      ["tree of dirty pages", domain.read(DomainCell.dirtyTree), domain.read(DomainCell.dirtyCount)],
      ["tree of a harvest", domain.read(DomainCell.harvestTree), domain.read(DomainCell.harvestCount)],
    ] as const) {
      const bits = countTree(view, top, DIRTY_TREE_LEVELS, nodes);
      if (bits < 0) yield `the ${name} has a node that is no page of the pool's, or is in it twice`;
      else if (bits !== count) yield `the ${name} has ${String(bits)} bits, its count says ${String(count)}`;
    }
    const lent = domain.read(DomainCell.p2mPages) - tablesLent(view);
    if (nodes.size !== lent)
      yield `the pool has lent ${String(lent)} pages, trees of dirty pages have ${String(nodes.size)}`;
    if (nodes.size > 0 && domain.read(DomainCell.logDirty) === 0)
      yield "there are trees of dirty pages, but nothing is logged";
  },
};

/** Bits in a tree; -1 when it is none. */
function countTree(view: AuditView, node: number, level: number, nodes: Set<number>): number {
  if (node === 0) return 0;
  const isNode = node > 0 && node < view.frames.frames && !nodes.has(node);
  if (!isNode || view.frames.type(mfn(node)) !== ShadowType.dirty_tree) return -1;
  nodes.add(node);
  const { view: words } = view.memory;
  let bits = 0;
  for (let index = 0; index < (level > 1 ? NODE_CHILDREN : PAGE_WORDS); index++) {
    const word = words[(node << 10) | index] ?? 0;
    const below = level > 1 ? countTree(view, word, level - 1, nodes) : ones(word);
    if (below < 0) return -1;
    bits += below;
  }
  return bits;
}

function ones(word: number): number {
  let count = 0;
  for (let left = word; left !== 0; left &= left - 1) count++;
  return count;
}
