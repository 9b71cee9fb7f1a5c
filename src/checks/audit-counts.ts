/** Invariants of counts, upward links, pins and the pool (I3, I6, I7, I9; spec 15.8). */
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse, MAY_WRITE, SHADOWED } from "../memory/frame-table.ts";
import { mfn } from "../memory/units.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { isFakeLeafType, shadowTypeName } from "../hypervisor/shadow/shadow-type.ts";
import { UNDER_LOCK } from "./invariant.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView } from "./audit-view.ts";

const PINNED = 1;
const ROOTS = 4;

/** The typecount of a page is the number of writable leaves that map it. */
export const typecountsAreExact: Invariant = {
  name: "typecounts-are-exact",
  source: "spec 20.1, I3",
  because: "revocation stops when the typecount is 0: a pagetable stays writable",
  topic: "entries",
  inFlight: UNDER_LOCK,
  *violations(view) {
    for (const page of view.guestPages) {
      const count = view.frames.typecount(page);
      const found = view.writableCount(page);
      if (count !== found)
        yield `page ${hex(page)} has typecount ${String(count)}, ${String(found)} writable leaves map it`;
    }
  },
};

/** No leaf lets a pagetable be written that is not out of sync, and nothing else is counted as its writer. */
export const pagetablesAreReadOnly: Invariant = {
  name: "pagetables-are-read-only",
  source: "spec 15.1, I4, V1",
  because: "a store to the guest's table is not seen, and its shadow goes stale",
  topic: "entries",
  inFlight: UNDER_LOCK,
  *violations(view) {
    for (const page of view.guestPages)
      if (
        view.writableCount(page) !== 0 &&
        (view.frames.shadowFlags(page) & (SHADOWED | MAY_WRITE)) === SHADOWED
      )
        yield `a leaf lets pagetable ${hex(page)} be written`;
  },
};

/** The references of a page are one for its allocation, one a leaf, one a shadow, one a vCPU whose root it is. */
export const pageCountsAreExact: Invariant = {
  name: "page-counts-are-exact",
  source: "spec 1.2, 15.8",
  because: "a page with too few references is freed in use, one with too many is never freed",
  topic: "entries",
  inFlight: UNDER_LOCK,
  *violations(view) {
    const roots: number[] = [];
    for (const { area } of view.vcpuAreas()) roots.push(view.memory.loadWord(area + VcpuCell.guestTable));
    for (const page of view.guestPages) {
      const isDevice = view.frames.use(page) === FrameUse.device;
      const isAllocated = isDevice || view.machine.p2m.ownFrameOf(view.frames.back(page)) === page;
      const isIdentity = view.machine.domain.read(DomainCell.unpagedTable) === page;
      let due = view.leafCount(page) + (isAllocated || isIdentity ? 1 : 0);
      for (const shadow of view.shadowsOf(page)) if (!isFakeLeafType(shadow.type)) due++;
      for (const root of roots) if (root === page) due++;
      if (view.frames.count(page) !== due)
        yield `page ${hex(page)} has ${String(view.frames.count(page))} references, ${String(due)} are found`;
    }
  },
};

/** The references of a shadow are its parents, root slots and pin. */
export const shadowCountsAreExact: Invariant = {
  name: "shadow-counts-are-exact",
  source: "spec 3.3, I6",
  because: "a shadow with too few references is freed while hardware walks it",
  topic: "entries",
  inFlight: UNDER_LOCK,
  *violations(view) {
    const roots: number[] = [];
    for (const { area } of view.vcpuAreas())
      for (let slot = 0; slot < ROOTS; slot++)
        roots.push(view.memory.loadGuarded(area + VcpuCell.roots + slot));
    for (const { head, type } of view.shadows) {
      const isPinned = (view.frames.state(head) & PINNED) !== 0;
      let due = view.parentCount(head) + (isPinned ? 1 : 0);
      for (const root of roots) if (root === head) due++;
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
  topic: "entries",
  inFlight: UNDER_LOCK,
  *violations(view) {
    for (const { head, type } of view.shadows) {
      const up = view.frames.up(head);
      if (up === 0) continue;
      const low = view.memory.loadEntry(up);
      const child = frameOfEntry(low, view.memory.high);
      if (!view.isShadowPage(up >>> 10) || (low & 1) === 0 || child !== head)
        yield `${shadowTypeName(type)} shadow ${hex(head)} names cell ${hex(up)} as its parent, which is not one`;
    }
  },
};

/** The pinned list holds exactly the pinned shadows, and is linked both ways. */
export const pinnedListIsExact: Invariant = {
  name: "pinned-list-is-exact",
  source: "spec 3.4, 15.8",
  because: "a pinned root that is not in the list can never be recycled",
  topic: "pinned",
  inFlight: UNDER_LOCK,
  *violations(view) {
    const pinned = new Set<number>();
    for (const { head } of view.allShadows()) if ((view.frames.state(head) & PINNED) !== 0) pinned.add(head);
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
  topic: "pool",
  inFlight: UNDER_LOCK,
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
  topic: "heap",
  inFlight: "as it stands: frames are taken and given back while the paging lock is held too",
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

function* poolTotal(view: AuditView, free: ReadonlySet<number>): Iterable<string> {
  let pages = 0;
  for (let number = 1; number < view.frames.frames; number++) {
    const frame = mfn(number);
    if (view.frames.use(frame) !== FrameUse.pool) continue;
    pages++;
    if (view.frames.type(frame) === 0 && !free.has(number))
      yield `page ${hex(number)} is free but not on the list`;
  }
  const { domain } = view.machine;
  const total = domain.read(DomainCell.poolTotal) + domain.read(DomainCell.p2mPages);
  if (pages !== total) yield `the pool has ${String(pages)} pages, its count says ${String(total)}`;
}
