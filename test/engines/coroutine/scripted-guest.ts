/**
 * A guest that does what a list of numbers says, and writes down every answer. Any list is a guest, and a shorter one a
 * simpler one: numbers are read modulo what there is to choose from.
 */
import { Cr0, Cr4, Efer, EntryFlag, defineScenario } from "umbra";
import type { Cpu } from "umbra";

/** One operation: its kind, and what the kind makes of the rest. */
export type Operation = readonly [kind: number, place: number, other: number, value: number];

/** What the program of a script is given, and what it leaves behind. */
export interface Script {
  readonly operations: readonly Operation[];
  readonly answers: number[];
}

const PAGE = 4096;
const WINDOW = 0x0040_0000;
const PAGES = 12;
const SIZES = [1, 2, 4, 8] as const;
const DIRECT = 0x0100_0000;
const RIGHTS = [0, 1, 3, 5, 7, 0x27, 0x67, 0x107] as const;
const FLIPPED_CR0 = Cr0.wp;

interface Boot {
  readonly roots: readonly number[];
  /** Addresses of entries that can be rewritten, in the direct map. */
  readonly entries: readonly number[];
  readonly frames: readonly number[];
  readonly entryBytes: number;
}

export default defineScenario({
  name: "scripted-guest",
  about: "what a list of numbers says",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 1, default: 1 },
  options: {},
  machine: { ramPages: 96 },

  boot(loader) {
    const tables = loader.tables();
    const roots = [tables.newRoot(), tables.newRoot()];
    const frames: number[] = [];
    const entries: number[] = [];
    const rights = { flags: EntryFlag.writable | EntryFlag.user };
    for (let index = 0; index < PAGES; index++) frames.push(loader.page());
    for (const root of roots) {
      for (const [index, frame] of frames.entries()) {
        const address = WINDOW + index * PAGE;
        tables.mapPage(root, address, frame, rights);
        for (const level of [1, 2]) entries.push(DIRECT + tables.entryAddress(root, address, level));
      }
      for (let gfn = 0; gfn < 96; gfn++) tables.mapPage(root, DIRECT + gfn * PAGE, gfn, rights);
    }
    return { roots, entries, frames, entryBytes: tables.format.entryBytes };
  },

  programs: [
    function scripted(cpu, boot) {
      const { operations, answers }: Partial<Script> = boot as Partial<Script>;
      if (operations === undefined || answers === undefined) return;
      cpu.enablePaging(boot.roots[0] ?? 0);
      for (const operation of operations) perform(cpu, boot, operation, answers);
      cpu.enterKernelMode();
    },
  ],
});

function perform(cpu: Cpu, boot: Boot, operation: Operation, answers: number[]): void {
  const [kind, place, other, value] = operation;
  const { vcpu } = cpu;
  const size = SIZES[other % SIZES.length] ?? 4;
  const address = addressOf(boot, place, size);
  vcpu.resultLow = 0;
  vcpu.resultHigh = 0;
  switch (kind % 12) {
    case 0:
    case 1:
      answers.push(vcpu.load(address, 0, size));
      break;
    case 2:
    case 3:
      answers.push(vcpu.store(address, 0, size, value, ~value));
      break;
    case 4:
      vcpu.expectedLow = value % 3 === 0 ? 0 : value;
      vcpu.expectedHigh = 0;
      vcpu.valueLow = ~value;
      vcpu.valueHigh = value;
      answers.push(vcpu.compareExchange(address, 0, size));
      break;
    case 5:
      answers.push(vcpu.fetch(address, 0, Math.min(size, 4)));
      break;
    case 6:
    case 7:
      answers.push(setEntry(cpu, boot, place, value));
      break;
    case 8:
      cpu.invlpg(address);
      break;
    case 9:
      cpu.loadRoot(boot.roots[place % 2] ?? 0);
      break;
    case 10:
      if (place % 2 === 0) cpu.enterUserMode();
      else cpu.enterKernelMode();
      break;
    default:
      answers.push(control(cpu, place));
  }
  answers.push(vcpu.resultLow, vcpu.resultHigh, vcpu.faultErrorCode);
}

/** Sizes and addresses may not fit: accesses across pages, and to what nothing maps, are part of it. */
function addressOf({ entries }: Boot, place: number, size: number): number {
  const chosen = place % 16;
  if (chosen === 14) return (entries[place % entries.length] ?? 0) | 0;
  if (chosen === 15) return (0x2000_0000 + place * size) | 0;
  const page = chosen % PAGES;
  return (WINDOW + page * PAGE + ((place >>> 4) % 3 === 0 ? PAGE - (place % 9) : (place >>> 4) % 64)) | 0;
}

/** Rewrites an entry of the guest's tables, with one store or two. */
function setEntry(
  { vcpu }: Cpu,
  { entries, frames, entryBytes }: Boot,
  place: number,
  value: number,
): number {
  const at = entries[place % entries.length] ?? 0;
  const frame = frames[value % frames.length] ?? 0;
  const low = (frame << 12) | (RIGHTS[value % RIGHTS.length] ?? 0);
  // Only leaf entries: others get their rights changed and keep their table.
  const isLeaf = place % 2 === 0;
  if (!isLeaf) return vcpu.load(at, 0, entryBytes);
  return vcpu.store(at, 0, entryBytes, low, 0);
}

function control(cpu: Cpu, place: number): number {
  if (cpu.isUserMode) return -1;
  switch (place % 5) {
    case 0:
      cpu.writeCr0(cpu.readCr0() ^ FLIPPED_CR0);
      return cpu.readCr0();
    case 1:
      cpu.writeCr4(cpu.readCr4() ^ Cr4.pge);
      return cpu.readCr4();
    case 2:
      return cpu.hypercall(place % 2, place, 0);
    case 3:
      return cpu.readEfer() & Efer.nxe;
    default:
      cpu.allowUserAccess(place % 2 === 0);
      return cpu.exits();
  }
}
