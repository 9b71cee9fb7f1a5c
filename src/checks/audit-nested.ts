/** Invariants of the p2m tables that hardware walks in hap mode. In shadow mode there are none, and these say nothing. */
import { DomainCell } from "../memory/domain-area.ts";
import { FrameUse } from "../memory/frame-table.ts";
import { mfn } from "../memory/units.ts";
import { VcpuCell } from "../memory/vcpu-area.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { entryText } from "../hypervisor/describe-walk.ts";
import { isReadOnlyEntry, p2mTypeName, typeInP2mEntry } from "../hypervisor/p2m-type.ts";
import { ShadowType } from "../hypervisor/shadow/shadow-type.ts";
import { UNDER_LOCK } from "./invariant.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView } from "./audit-view.ts";

const PRESENT = 1;
const WRITABLE = 2;
const TOP_LEVEL = 4;
const LEVEL_BITS = 9;
const ENTRIES = 512;
/** P, R/W and U/S: what every entry grants that maps anything. */
const GRANTED = 7;

/** A table of the p2m, and the first guest frame that it is about. */
interface Table {
  readonly frame: number;
  readonly level: number;
  readonly firstGfn: number;
}

/** A present entry of the p2m tables. */
interface NestedEntry {
  readonly level: number;
  /** The first guest frame that it is about. */
  readonly gfn: number;
  readonly low: number;
  readonly high: number;
  readonly frame: number;
}

/** Every present entry of the p2m tables that can be reached, in no particular order; of a machine in shadow mode none. */
function* nestedEntries(view: AuditView): Iterable<NestedEntry> {
  const root = view.machine.domain.read(DomainCell.p2mRoot);
  const open: Table[] = root === 0 ? [] : [{ frame: root, level: TOP_LEVEL, firstGfn: 0 }];
  for (let table = open.pop(); table !== undefined; table = open.pop())
    for (let index = 0; index < ENTRIES; index++) {
      const low = view.memory.loadEntry((table.frame << 10) | (index << 1));
      if ((low & PRESENT) === 0) continue;
      const { high } = view.memory;
      const { level } = table;
      const frame = frameOfEntry(low, high);
      const gfn = table.firstGfn + index * 2 ** (LEVEL_BITS * (level - 1));
      yield { level, gfn, low, high, frame };
      if (level > 1 && isTable(view, frame)) open.push({ frame, level: level - 1, firstGfn: gfn });
    }
}

/** Pages that the p2m tables let be written, whatever the guest's own tables say. */
export function* pagesWritableByP2m(
  view: AuditView,
): Iterable<{ readonly gfn: number; readonly frame: number }> {
  for (const { level, gfn, low, frame } of nestedEntries(view))
    if (level === 1 && (low & WRITABLE) !== 0) yield { gfn, frame };
}

/** The p2m tables map each gfn to the frame that the p2m gives, or to nothing, with all rights but that of writing a page. */
export const p2mTablesFollowP2m: Invariant = {
  name: "p2m-tables-follow-p2m",
  source: "spec 12.1, V4",
  because: "the guest reads and writes memory that is not, or no longer, its own",
  topic: "p2m",
  inFlight: "as it stands: the p2m changes under the paging lock, which is held until its tables follow",
  *violations(view) {
    if (view.machine.config.paging !== "hap") return;
    const { p2m } = view.machine;
    let mapped = 0;
    for (const { level, gfn, low, high, frame } of nestedEntries(view)) {
      const due = level === 1 ? GRANTED & ~WRITABLE : GRANTED;
      if ((low & due) !== due || high < 0)
        yield `the p2m's entry for gfn ${hex(gfn)} at level ${String(level)} withholds rights: ${entryText(low, high)}`;
      if (level > 1) {
        if (!isTable(view, frame))
          yield `the p2m's entry for gfn ${hex(gfn)} points to ${hex(frame)}, which is no table of the p2m`;
        continue;
      }
      mapped++;
      const given = p2m.mappedFrameOf(gfn);
      if (given !== frame)
        yield `hardware finds ${hex(frame)} at gfn ${hex(gfn)}, the p2m has ${given < 0 ? "none" : hex(given)}`;
      if ((low & WRITABLE) !== 0 && isReadOnlyEntry(p2m.entryOf(gfn)))
        yield `hardware may write gfn ${hex(gfn)}, which is ${p2mTypeName(typeInP2mEntry(p2m.entryOf(gfn)))}`;
    }
    let memory = 0;
    for (let gfn = 0; gfn < p2m.ramPages; gfn++) if (p2m.mappedFrameOf(gfn) >= 0) memory++;
    if (mapped !== memory)
      yield `the p2m has memory at ${String(memory)} gfns, its tables map ${String(mapped)}`;
  },
};

/** The pages lent to the p2m are its tables, each reached once, and every vCPU walks from the top one. */
export const p2mTablesAreCounted: Invariant = {
  name: "p2m-tables-are-counted",
  source: "spec 12.4, 15.8",
  because: "a page that is lent and not used is lost to the pool; hardware walks one that has come back",
  topic: "p2m",
  inFlight: UNDER_LOCK,
  *violations(view) {
    if (view.machine.config.paging !== "hap") return;
    const root = view.machine.domain.read(DomainCell.p2mRoot);
    const lent = new Set<number>();
    for (let number = 1; number < view.frames.frames; number++) if (isTable(view, number)) lent.add(number);
    const open = [{ frame: root, level: TOP_LEVEL }];
    for (let table = open.pop(); table !== undefined; table = open.pop()) {
      if (!lent.delete(table.frame))
        yield `table ${hex(table.frame)} of the p2m is no page lent, or is met twice`;
      for (let index = 0; table.level > 1 && index < ENTRIES; index++) {
        const low = view.memory.loadEntry((table.frame << 10) | (index << 1));
        if ((low & PRESENT) !== 0)
          open.push({ frame: frameOfEntry(low, view.memory.high), level: table.level - 1 });
      }
    }
    for (const frame of lent) yield `page ${hex(frame)} is lent to the p2m, but none of its tables`;
    for (const { vcpu, area } of view.vcpuAreas()) {
      const walked = view.memory.loadWord(area + VcpuCell.nestedRoot);
      if (walked !== 0 && walked !== root)
        yield `vCPU ${String(vcpu)} walks from ${hex(walked)}, the p2m's top table is ${hex(root)}`;
    }
  },
};

/** Pages of the pool that are lent to the p2m for its tables. */
export function tablesLent(view: AuditView): number {
  let count = 0;
  if (view.machine.config.paging === "hap")
    for (let number = 1; number < view.frames.frames; number++) if (isTable(view, number)) count++;
  return count;
}

function isTable({ frames }: AuditView, number: number): boolean {
  if (number <= 0 || number >= frames.frames) return false;
  const frame = mfn(number);
  return frames.use(frame) === FrameUse.pool && frames.type(frame) === ShadowType.p2m_table;
}
