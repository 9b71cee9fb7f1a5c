/** Walks written out for people: one line a level, entries as in the manual. */
import { VcpuCell } from "../memory/vcpu-area.ts";
import { frameOfEntry } from "../machine/entry.ts";
import type { Walker } from "../machine/walker.ts";
import { isMagic, isNotPresentMagic, mmioMagicGfn } from "./shadow/shadow-entry.ts";
import type { Hap } from "./hap/hap.ts";
import type { Shadow } from "./shadow/shadow.ts";

/** A 64-bit value in hexadecimal. */
export function hex64(low: number, high: number): string {
  const lower = (low >>> 0).toString(16);
  return high === 0 ? `0x${lower}` : `0x${(high >>> 0).toString(16)}${lower.padStart(8, "0")}`;
}

/** An entry with its flags spelled out. */
export function entryText(low: number, high: number): string {
  if (isMagic(low, high)) {
    if (isNotPresentMagic(low)) return `${hex64(low, high)} magic: not present`;
    return `${hex64(low, high)} magic: MMIO gfn 0x${mmioMagicGfn(low, high).toString(16)}`;
  }
  const letters = ["P", "W", "U", "", "", "A", "D", "S", "G"];
  const flags = letters.filter((_, bit) => ((low >>> bit) & 1) !== 0).join("");
  return `${hex64(low, high)} ${flags}${high < 0 ? "X" : ""}`;
}

/** What a walker visited, from the top. */
export function describeVisited(walker: Walker, top: number, passed: boolean): string[] {
  const lines: string[] = [];
  const last = passed ? walker.leafLevel : walker.stopLevel;
  for (let level = top; level >= Math.max(last, 1); level--) {
    const table = walker.tableMfn[level] ?? 0;
    const place = table > 0 ? `mfn 0x${table.toString(16)}` : "register";
    lines.push(
      `L${String(level)} ${place}: ${entryText(walker.entryLow[level] ?? 0, walker.entryHigh[level] ?? 0)}`,
    );
  }
  lines.push(
    passed ? `frame 0x${walker.frame.toString(16)}` : `fault, error code ${String(walker.errorCode)}`,
  );
  return lines;
}

/** What the shadow tables of a vCPU say about an address, from the top. */
export function describeShadow(shadow: Shadow, low: number, high: number): string[] {
  const { memory, vcpu } = shadow;
  const lines: string[] = [];
  const levels = vcpu.register(VcpuCell.shadowLevels);
  let table = memory.loadWord(vcpu.area + VcpuCell.hardwareRoot);
  if (levels !== 4) {
    const pdpte = memory.loadEntry(vcpu.area + VcpuCell.pdptes + 2 * (low >>> 30));
    const pdpteHigh = memory.high;
    lines.push(`L3 register: ${entryText(pdpte, pdpteHigh)}`);
    table = (pdpte & 1) === 0 ? 0 : shadow.frameIn(pdpte, pdpteHigh);
  }
  const indices = [0, low >>> 12, low >>> 21, (low >>> 30) | (high << 2), high >>> 7];
  for (let level = levels === 4 ? 4 : 2; level >= 1; level--) {
    if (table <= 0 || table >= shadow.layout.sizes.frames) return lines;
    const entryLow = memory.loadEntry((table << 10) | (((indices[level] ?? 0) & 511) << 1));
    const entryHigh = memory.high;
    lines.push(`L${String(level)} mfn 0x${table.toString(16)}: ${entryText(entryLow, entryHigh)}`);
    if ((entryLow & 1) === 0 || isMagic(entryLow, entryHigh)) return lines;
    table = shadow.frameIn(entryLow, entryHigh);
  }
  lines.push(`mfn 0x${table.toString(16)}`);
  return lines;
}

/** What the p2m tables say about the page that a walk of the guest's tables came to, from the top. */
export function describeNested({ memory, vcpu, layout }: Hap, walker: Walker): string[] {
  if (walker.leafLevel === 0) return ["the guest's tables lead to no page"];
  const gfn = walker.frame;
  const lines = [`gfn 0x${gfn.toString(16)}`];
  let table = memory.loadWord(vcpu.area + VcpuCell.nestedRoot);
  for (let level = 4; level >= 1; level--) {
    if (table <= 0 || table >= layout.sizes.frames) return lines;
    const low = memory.loadEntry((table << 10) | (((gfn >>> (9 * (level - 1))) & 511) << 1));
    const { high } = memory;
    lines.push(`p2m L${String(level)} mfn 0x${table.toString(16)}: ${entryText(low, high)}`);
    if ((low & 1) === 0) return lines;
    table = frameOfEntry(low, high);
  }
  lines.push(`mfn 0x${table.toString(16)}`);
  return lines;
}
