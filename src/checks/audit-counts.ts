/** Invariants of counts, upward links, pins and the pool (I3, I6, I7, I9; spec 15.8). */
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse, SHADOWED } from "../memory/frame-table.ts";
import { mfn } from "../memory/units.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { isFakeLeafType, shadowTypeName } from "../hypervisor/shadow/shadow-type.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./machine-view.ts";
import type { MachineView } from "./machine-view.ts";

const WRITABLE = 2;
const PINNED = 1;
const ROOTS = 4;

/** A count for each frame. */
function countsOf(view: MachineView): Int32Array {
  return new Int32Array(view.frames.frames);
}

/** Counts one more. What names a frame that does not exist is for others to find. */
function increment(counts: Int32Array, frame: number): void {
  if (frame < counts.length) counts[frame] = (counts[frame] ?? 0) + 1;
}

/** The typecount of a page is the number of writable leaves that map it. */
export const typecountsAreExact: Invariant = {
  name: "typecounts-are-exact",
  source: "spec 20.1, I3",
  because: "revocation stops when the typecount is 0: a pagetable stays writable",
  *violations(view) {
    const writable = countsOf(view);
    for (const { low, frame } of view.leaves) if ((low & WRITABLE) !== 0) increment(writable, frame);
    for (let number = 1; number < view.frames.frames; number++) {
      if (view.frames.use(mfn(number)) !== FrameUse.guest) continue;
      const count = view.frames.typecount(mfn(number));
      const found = writable[number] ?? 0;
      if (count !== found)
        yield `page ${hex(number)} has typecount ${String(count)}, ${String(found)} writable leaves map it`;
    }
  },
};

/** No leaf lets a pagetable be written, and nothing else is counted as its writer. */
export const pagetablesAreReadOnly: Invariant = {
  name: "pagetables-are-read-only",
  source: "spec 15.1, I4, V1",
  because: "a store to the guest's table is not seen, and its shadow goes stale",
  *violations(view) {
    for (const { low, frame } of view.leaves)
      if ((low & WRITABLE) !== 0 && (view.frames.shadowFlags(frame) & SHADOWED) !== 0)
        yield `a leaf lets pagetable ${hex(frame)} be written`;
  },
};

/** The references of a page are one for its allocation, one a leaf, one a shadow, one a vCPU whose root it is. */
export const pageCountsAreExact: Invariant = {
  name: "page-counts-are-exact",
  source: "spec 1.2, 15.8",
  because: "a page with too few references is freed in use, one with too many is never freed",
  *violations(view) {
    const counts = countsOf(view);
    for (const { frame } of view.leaves) increment(counts, frame);
    for (const shadow of view.shadows) if (!isFakeLeafType(shadow.type)) increment(counts, shadow.back);
    for (const { area } of view.vcpuAreas()) {
      const table = view.memory.loadWord(area + VcpuCell.guestTable);
      if (table !== 0) increment(counts, table);
    }
    for (let number = 1; number < view.frames.frames; number++) {
      const frame = mfn(number);
      if (view.frames.use(frame) !== FrameUse.guest) continue;
      const isAllocated = view.machine.p2m.frameOf(view.frames.back(frame)) === frame;
      const isIdentity = view.machine.domain.read(DomainCell.unpagedTable) === number;
      const due = (counts[number] ?? 0) + (isAllocated || isIdentity ? 1 : 0);
      if (view.frames.count(frame) !== due)
        yield `page ${hex(number)} has ${String(view.frames.count(frame))} references, ${String(due)} are found`;
    }
  },
};

/** The references of a shadow are its parents, root slots and pin. */
export const shadowCountsAreExact: Invariant = {
  name: "shadow-counts-are-exact",
  source: "spec 3.3, I6",
  because: "a shadow with too few references is freed while hardware walks it",
  *violations(view) {
    const counts = countsOf(view);
    for (const { frame } of view.uppers) increment(counts, frame);
    for (const { area } of view.vcpuAreas())
      for (let slot = 0; slot < ROOTS; slot++) {
        const root = view.memory.loadGuarded(area + VcpuCell.roots + slot);
        if (root !== 0) increment(counts, root);
      }
    for (const { head, type } of view.shadows) {
      const isPinned = (view.frames.state(head) & PINNED) !== 0;
      const due = (counts[head] ?? 0) + (isPinned ? 1 : 0);
      const count = view.frames.count(head);
      if (count !== due)
        yield `${shadowTypeName(type)} shadow ${hex(head)} has ${String(count)} references, ${String(due)} are found`;
      else if (count === 0) yield `${shadowTypeName(type)} shadow ${hex(head)} lives without a reference`;
    }
  },
};

/** An upward link leads to a present entry that points back. */
export const upwardLinksAreTrue: Invariant = {
  name: "upward-links-are-true",
  source: "spec 20.64, I7",
  because: "following the link clears an entry of somebody else's table",
  *violations(view) {
    const heads = new Set(view.shadows.flatMap((shadow) => shadow.pages.map(Number)));
    for (const { head, type } of view.shadows) {
      const up = view.frames.up(head);
      if (up === 0) continue;
      const low = view.memory.loadEntry(up);
      const child = frameOfEntry(low, view.memory.high);
      if (!heads.has(up >>> 10) || (low & 1) === 0 || child !== head)
        yield `${shadowTypeName(type)} shadow ${hex(head)} names cell ${hex(up)} as its parent, which is not one`;
    }
  },
};

/** The pinned list holds exactly the pinned shadows, and is linked both ways. */
export const pinnedListIsExact: Invariant = {
  name: "pinned-list-is-exact",
  source: "spec 3.4, 15.8",
  because: "a pinned root that is not in the list can never be recycled",
  *violations(view) {
    const pinned = new Set(
      view.shadows
        .filter(({ head }) => (view.frames.state(head) & PINNED) !== 0)
        .map(({ head }) => Number(head)),
    );
    let previous = 0;
    let at = view.machine.domain.read(DomainCell.pinnedHead);
    for (let length = 0; at !== 0 && length <= view.frames.frames; length++) {
      if (!pinned.delete(at)) yield `the pinned list holds ${hex(at)}, which is not pinned or is in it twice`;
      if (view.frames.previousFrame(mfn(at)) !== previous)
        yield `the pinned list is not linked back at ${hex(at)}`;
      previous = at;
      at = view.frames.nextFrame(mfn(at));
    }
    for (const head of pinned) yield `shadow ${hex(head)} is pinned but not in the list`;
  },
};

/** The pool's free list has as many pages as it says, and with those in use they are all there are. */
export const poolIsComplete: Invariant = {
  name: "pool-is-complete",
  source: "spec 15.8, I9",
  because: "a page that is lost to the pool is lost for good; one that is on it twice serves two tables",
  *violations(view) {
    const { domain } = view.machine;
    const free = new Set<number>();
    let at = domain.read(DomainCell.poolHead);
    while (at !== 0 && !free.has(at)) {
      free.add(at);
      if (view.frames.use(mfn(at)) !== FrameUse.pool || view.frames.type(mfn(at)) !== 0)
        yield `page ${hex(at)} on the pool's free list is in use`;
      at = view.frames.nextFrame(mfn(at));
    }
    if (at !== 0) yield `page ${hex(at)} is on the pool's free list twice`;
    if (free.size !== domain.read(DomainCell.poolFree))
      yield `the pool's free list has ${String(free.size)} pages, its count says ${String(domain.read(DomainCell.poolFree))}`;
    yield* poolTotal(view, free);
  },
};

/** The machine's free list holds exactly the frames that nobody has. */
export const heapIsComplete: Invariant = {
  name: "heap-is-complete",
  source: "V4, V7",
  because: "a frame that is lost is lost for good; one that is free and in use is given to a second owner",
  *violations(view) {
    const { domain } = view.machine;
    const free = new Set<number>();
    let at = domain.read(DomainCell.heapHead);
    while (at !== 0 && !free.has(at)) {
      free.add(at);
      if (view.frames.use(mfn(at)) !== FrameUse.heap) yield `frame ${hex(at)} on the free list is in use`;
      at = view.frames.nextFrame(mfn(at));
    }
    if (at !== 0) yield `frame ${hex(at)} is on the free list twice`;
    const count = domain.read(DomainCell.heapFree);
    if (free.size !== count)
      yield `the free list has ${String(free.size)} frames, its count says ${String(count)}`;
    for (let number = 1; number < view.frames.frames; number++)
      if (view.frames.use(mfn(number)) === FrameUse.heap && !free.has(number))
        yield `frame ${hex(number)} belongs to nobody and is not on the free list`;
  },
};

function* poolTotal(view: MachineView, free: ReadonlySet<number>): Iterable<string> {
  let pages = 0;
  for (let number = 1; number < view.frames.frames; number++) {
    const frame = mfn(number);
    if (view.frames.use(frame) !== FrameUse.pool) continue;
    pages++;
    if (view.frames.type(frame) === 0 && !free.has(number))
      yield `page ${hex(number)} is free but not on the list`;
  }
  const total = view.machine.domain.read(DomainCell.poolTotal);
  if (pages !== total) yield `the pool has ${String(pages)} pages, its count says ${String(total)}`;
}
