/**
 * Where a kernel keeps itself and how it reaches its own pagetables: the three habits that the write-access heuristics of
 * the talk guess (spec 6.3).
 *
 * - `one-to-one`: all memory is mapped at one offset, tables included, as Linux maps its low memory.
 * - `linear-map`: an entry of the root points back at the root, so that the tables of the current address space appear as
 *   one array of entries, as Windows has it. PAE has four such entries, one for each level 2 table.
 * - `temporary-map`: tables are mapped for a moment through a slot that each vCPU has, as Linux does with tables in high
 *   memory.
 *
 * User addresses are below 2 GiB in a 32-bit guest, below 128 TiB in a 64-bit one. The kernel's own data lies at one offset from physical memory in all
 * three; only in the first does that map reach other pages too.
 */
import type { GuestFormat } from "../scenario.ts";
import { pagingFormat, signExtended } from "./paging-format.ts";

/** How a kernel reaches its pagetables. */
export type Personality = "one-to-one" | "linear-map" | "temporary-map";

/** All personalities, as the choices of a scenario's option. */
export const PERSONALITIES: readonly Personality[] = ["one-to-one", "linear-map", "temporary-map"];

/** Where things are in a kernel's half of the address space. */
export interface AddressMap {
  /** Physical address 0 of the kernel's data appears here. */
  readonly kernelBase: number;
  /** Slots for temporary mappings start here: `WINDOWS_PER_CPU` pages for each vCPU, all in one level 1 table. */
  readonly windows: number;
  /** The first entry of the linear map; 0 where the kernel has none. */
  readonly linearMap: number;
  /** The kernel's machine code, if it has any: one page, read-only. */
  readonly code: number;
}

/** Slots for temporary mappings that each vCPU has. */
export const WINDOWS_PER_CPU = 16;

/** Where user addresses end in a format: at 2 GiB, or at 128 TiB. */
export function userEnd(format: GuestFormat): number {
  return format === "4level" ? 2 ** 47 : 0x8000_0000;
}

const LINUX_32_BIT = 0xc000_0000;
const WINDOWS_32_BIT = 0x8000_0000;
const LINUX_64_BIT = signExtended(0x8880_0000_0000);
const WINDOWS_64_BIT = signExtended(0xf800_0000_0000);
const LINEAR_32_BIT = 0xc000_0000;
const LINEAR_64_BIT = signExtended(0xf680_0000_0000);

const WINDOW_SLOTS: Readonly<Record<GuestFormat, number>> = {
  "2level": 0xffc0_0000,
  pae: 0xffe0_0000,
  "4level": signExtended(0xffff_ffe0_0000),
};

/** The address map of a kernel. */
export function addressMap(format: GuestFormat, personality: Personality): AddressMap {
  const is64Bit = format === "4level";
  const isLinear = personality === "linear-map";
  const linux = is64Bit ? LINUX_64_BIT : LINUX_32_BIT;
  const windows = is64Bit ? WINDOWS_64_BIT : WINDOWS_32_BIT;
  const linearMap = is64Bit ? LINEAR_64_BIT : LINEAR_32_BIT;
  return {
    kernelBase: isLinear ? windows : linux,
    windows: WINDOW_SLOTS[format],
    linearMap: isLinear ? linearMap : 0,
    code: WINDOW_SLOTS[format] - pagingFormat(format).largePageBytes,
  };
}

/**
 * Where the linear map shows the entry of a level for an address: the map applied once for each level, since the tables
 * are themselves mapped by tables.
 */
export function linearEntry(format: GuestFormat, linearMap: number, address: number, level: number): number {
  const { entryBytes } = pagingFormat(format);
  const span = format === "4level" ? 2 ** 48 : 2 ** 32;
  let at = address;
  for (let step = 0; step < level; step++) {
    const unsigned = at < 0 ? at + span : at;
    at = linearMap + Math.floor(unsigned / 4096) * entryBytes;
  }
  return at;
}

/** A personality by its name, for options given as text. Throws RangeError when there is none. */
export function personalityNamed(name: string): Personality {
  const found = PERSONALITIES.find((each) => each === name);
  if (found === undefined) {
    throw new RangeError(`a kernel reaches its tables by ${PERSONALITIES.join(", ")}, not "${name}"`);
  }
  return found;
}
