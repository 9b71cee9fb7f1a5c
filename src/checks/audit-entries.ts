/** Invariants of shadow entries against the guest's tables and the p2m (spec 15.2 to 15.5; I1, I2, I11). */
import { Doing, VcpuCell } from "../memory/vcpu-area.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { Cr4, Efer } from "../machine/control-registers.ts";
import { entryText } from "../hypervisor/describe-walk.ts";
import { P2mType, p2mTypeName, typeInP2mEntry } from "../hypervisor/p2m-type.ts";
import { isNotPresentMagic, mmioMagicGfn } from "../hypervisor/shadow/shadow-entry.ts";
import {
  ShadowType,
  childTypeOf,
  fakeLeafTypeOf,
  isFakeLeafType,
  shadowTypeName,
  superpagePages,
} from "../hypervisor/shadow/shadow-type.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView, ShadowEntry } from "./audit-view.ts";

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 32;
const DIRTY = 64;
const PAGE_SIZE = 128;

function place(entry: ShadowEntry): string {
  const { shadow } = entry;
  return `${shadowTypeName(shadow.type)} shadow ${hex(shadow.head)} of ${hex(shadow.back)} entry ${String(entry.index)}`;
}

function guestText({ guestLow, guestHigh }: ShadowEntry): string {
  return `guest ${entryText(guestLow, guestHigh)}`;
}

/** The gfn that the guest's entry names; of an fl1 entry the page of the superpage. */
function gfnOf({ shadow, index, guestLow, guestHigh }: ShadowEntry): number {
  return isFakeLeafType(shadow.type) ? shadow.back + index : frameOfEntry(guestLow, guestHigh);
}

/** Why a shadow entry grants what its guest entry does not; undefined when it does not. */
function excess(
  { low, high, shadow, guestLow, guestHigh }: ShadowEntry,
  modes: { readonly everybodyHasNx: boolean; readonly everybodyHasPse: boolean },
): string | undefined {
  if ((guestLow & PRESENT) === 0) return "is present, the guest's is not";
  if ((guestLow & ACCESSED) === 0) return "is present, the guest's has A clear";
  if (((low ^ guestLow) & USER) !== 0) return "differs in U/S";
  if ((low & WRITABLE) !== 0 && (guestLow & WRITABLE) === 0) return "is writable, the guest's is not";
  const hasLargePages = shadow.format !== 2 || modes.everybodyHasPse;
  const isLarge = shadow.level === 2 && (guestLow & PAGE_SIZE) !== 0 && hasLargePages;
  if ((shadow.level === 1 || isLarge) && (low & WRITABLE) !== 0 && (guestLow & DIRTY) === 0)
    return "is writable, the guest's has D clear";
  if (shadow.format !== 2 && modes.everybodyHasNx && high < 0 !== guestHigh < 0) return "differs in NX";
  return undefined;
}

/** In-sync entries grant no more than the guest's own. */
export const entriesGrantNoMore: Invariant = {
  name: "entries-grant-no-more",
  source: "spec 15.2, I2",
  because: "the guest, or one of its processes, gets rights that its kernel has taken away",
  topic: "entries",
  inFlight:
    "a store to a shadowed page is emulated under the lock, an out-of-sync shadow is held against its snapshot, and A and D are only ever added to an entry; but CR4 is written " +
    "before the shadows follow, so a vCPU inside MOV CR counts as one that has neither NX nor large pages",
  *violations(view) {
    const everybodyHas = (register: number, bit: number): boolean => {
      for (const { area } of view.vcpuAreas()) {
        if ((view.memory.loadWord(area + register) & bit) === 0) return false;
        if (view.isLive && view.memory.loadPrivate(area + VcpuCell.doing) === Doing.writeCr) return false;
      }
      return true;
    };
    const modes = {
      everybodyHasNx: everybodyHas(VcpuCell.efer, Efer.nxe),
      everybodyHasPse: everybodyHas(VcpuCell.cr4, Cr4.pse),
    };
    for (const entries of [view.leaves, view.uppers])
      for (const entry of entries) {
        if (isFakeLeafType(entry.shadow.type)) continue;
        const what = excess(entry, modes);
        if (what !== undefined)
          yield `${place(entry)} ${what}: shadow ${entryText(entry.low, entry.high)}, ${guestText(entry)}`;
      }
  },
};

/** Leaves map the frame that the p2m gives for the guest's gfn. */
export const leavesFollowP2m: Invariant = {
  name: "leaves-follow-p2m",
  source: "spec 15.3, 15.4, I2",
  because: "the guest reads and writes memory that is not, or no longer, its own",
  topic: "entries",
  inFlight: "as it stands: the p2m changes under the paging lock, which is held until its mappings are gone",
  *violations(view) {
    for (const entry of view.leaves) {
      const gfn = gfnOf(entry);
      const frame = view.machine.p2m.mappedFrameOf(gfn);
      if (frame !== entry.frame)
        yield `${place(entry)} maps ${hex(entry.frame)}, the p2m has ${hex(frame)} for gfn ${hex(gfn)}`;
      if (
        isFakeLeafType(entry.shadow.type) &&
        (entry.low & (PRESENT | USER | ACCESSED)) !== (PRESENT | USER | ACCESSED)
      )
        yield `${place(entry)} lacks rights of a superpage: ${entryText(entry.low, entry.high)}`;
    }
  },
};

function whatIsAt({ machine }: AuditView, gfn: number): string {
  return machine.p2m.frameOf(gfn) >= 0 ? "memory" : p2mTypeName(typeInP2mEntry(machine.p2m.entryOf(gfn)));
}

/** Magic entries tell the truth: about a guest entry that is not present, about a gfn that is no memory. */
export const magicEntriesAreTrue: Invariant = {
  name: "magic-entries-are-true",
  source: "spec 15.3, I11",
  because: "the lock-free fast path answers from a magic entry alone",
  topic: "entries",
  inFlight: "as it stands: a guest entry that has an in-sync shadow changes only under the lock",
  *violations(view) {
    for (const entry of view.magicEntries) {
      const gfn = gfnOf(entry);
      if (isNotPresentMagic(entry.low)) yield `${place(entry)} says not present, ${guestText(entry)}`;
      else if ((entry.guestLow & PRESENT) === 0 || mmioMagicGfn(entry.low, entry.high) !== gfn)
        yield `${place(entry)} is MMIO of gfn ${hex(mmioMagicGfn(entry.low, entry.high))}, ${guestText(entry)}`;
      else if (view.machine.p2m.entryOf(gfn) !== P2mType.mmioDm)
        yield `${place(entry)} is MMIO, but gfn ${hex(gfn)} is ${whatIsAt(view, gfn)}`;
    }
  },
};

/** Upper entries point to the registered shadow of what the guest's entry names. */
export const upperEntriesFollowGuest: Invariant = {
  name: "upper-entries-follow-guest",
  source: "spec 15.5, I1",
  because: "a walk goes through tables that the guest has replaced",
  topic: "entries",
  inFlight: "as it stands: a guest entry that has an in-sync shadow changes only under the lock",
  *violations(view) {
    for (const entry of view.uppers) {
      const child = view.shadowWith(entry.frame);
      if (child === undefined) {
        yield `${place(entry)} points to ${hex(entry.frame)}, which is no shadow`;
        continue;
      }
      const gfn = gfnOf(entry);
      const { format, type } = entry.shadow;
      const isLarge = child.type === fakeLeafTypeOf(format) && (entry.guestLow & PAGE_SIZE) !== 0;
      const back = isLarge ? gfn & -superpagePages(format) : view.machine.p2m.frameOf(gfn);
      const isRightType = isLarge || child.type === childTypeOf(type);
      if (!isRightType || child.back !== back)
        yield `${place(entry)} points to a ${shadowTypeName(child.type)} of ${hex(child.back)}, the guest names gfn ${hex(gfn)}`;
      if (type === ShadowType.l2_32) yield* oddHalf(view, entry, child.pages[1] ?? 0);
    }
  },
};

/** The odd slot of a 2-on-3 entry points to the child's second page with the same flags. */
function* oddHalf(view: AuditView, entry: ShadowEntry, second: number): Iterable<string> {
  const low = view.memory.loadEntry(entry.cell + 2);
  const frame = frameOfEntry(low, view.memory.high);
  if (frame !== second || ((low ^ entry.low) & 0xfff) !== 0)
    yield `${place(entry)}: its odd half is ${entryText(low, view.memory.high)}`;
}
