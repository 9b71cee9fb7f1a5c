/** Finding shadows and sorting their entries, by scanning the memory that the model works on. */
import { FrameUse } from "../memory/frame-table.ts";
import type { FrameTable } from "../memory/frame-table.ts";
import { mfn } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { frameOfEntry } from "../machine/entry.ts";
import { isMagic, isNotPresentMagic } from "../hypervisor/shadow/shadow-entry.ts";
import {
  ShadowType,
  formatOfType,
  isFakeLeafType,
  isLeafType,
  levelOfType,
  pagesOfType,
} from "../hypervisor/shadow/shadow-type.ts";
import type { EntryLists, ShadowInfo } from "./audit-view.ts";

const HEAD = 2;
const PRESENT = 1;
const ENTRIES = 512;

/** The shadow whose head page a frame is; undefined when it is none. */
export function shadowAt(frames: FrameTable, head: Mfn): ShadowInfo | undefined {
  const type = frames.type(head);
  if (frames.use(head) !== FrameUse.pool || type === 0 || type >= ShadowType.p2m_table) return undefined;
  if ((frames.state(head) & HEAD) === 0) return undefined;
  const pages: Mfn[] = [];
  let page = head;
  while (page !== 0 && pages.length < pagesOfType(type)) {
    pages.push(page);
    page = frames.sibling(page);
  }
  const back = frames.back(head);
  return { head, type, level: levelOfType(type), format: formatOfType(type), back, pages };
}

/** Slots of a shadow's pages that own a reference: every one, or of 2-on-3 level 2 shadows the even ones. */
export function slotStep(type: number): number {
  return type === ShadowType.l2_32 ? 2 : 1;
}

/**
 * Sorts the present entries of one page of a shadow, each with the guest entry that it was made from: the one in `source`, the
 * guest's page or the snapshot of it. Plain reads: this is most of an audit's time.
 */
export function collectEntries(
  words: Int32Array,
  shadow: ShadowInfo,
  position: number,
  source: number,
  found: EntryLists,
): void {
  const { type, pages, format } = shadow;
  const isLeaf = isLeafType(type);
  const hasGuestEntry = !isFakeLeafType(type);
  const step = slotStep(type);
  const guestWords = format === 2 ? 1 : 2;
  const first = (pages[position] ?? 0) << 10;
  for (let slot = 0; slot < ENTRIES; slot += step) {
    const cell = first | (slot << 1);
    const low = words[cell] ?? 0;
    if ((low & PRESENT) === 0) continue;
    const high = words[cell + 1] ?? 0;
    const index = (position * ENTRIES + slot) / step;
    const guestCell = (source << 10) | (index * guestWords);
    const guestLow = hasGuestEntry ? (words[guestCell] ?? 0) : PRESENT;
    const guestHigh = hasGuestEntry && format !== 2 ? (words[guestCell + 1] ?? 0) : 0;
    const magic = isLeaf && isMagic(low, high);
    if (magic && isNotPresentMagic(low) && (guestLow & PRESENT) === 0) continue;
    const frame = mfn(frameOfEntry(low, high));
    const entry = { shadow, cell, index, low, high, frame, guestLow, guestHigh };
    if (magic) found.magicEntries.push(entry);
    else if (isLeaf) found.leaves.push(entry);
    else found.uppers.push(entry);
  }
}
