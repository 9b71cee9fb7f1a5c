/** Faults in the tracking of a frame buffer, for the invariants that are about it. */
import { DomainCell } from "../../src/memory/domain-area.ts";
import { TlbFlag } from "../../src/machine/tlb.ts";
import type { TestMachine } from "../hypervisor/test-machine.ts";
import type { Plant } from "./plants.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
const PAGES = 3;

/** Watches the first pages of a rich machine, and writes to the second. */
function watch(machine: TestMachine): void {
  const { vram } = machine.toolstack;
  const bitmap = new Int32Array(1);
  vram.track(PAGE, PAGES, bitmap, 0);
  machine.cpu.write(ADDRESS + 0x1000n, 7n);
}

/** Moves the bits away as a look does, and does nothing else that a look does. */
function forgetBits({ machine, cpu }: TestMachine): void {
  cpu.hosted.paging.logDirty.vram.takeBits(new Int32Array(1));
  machine.domain.write(DomainCell.vramUnflushed, 0);
}

/** The faults, by the name of the invariant. */
export const VRAM_PLANTS: Readonly<Record<string, readonly Plant[]>> = {
  "vram-mappings-are-true": [
    {
      what: "a record that was not forgotten with its mapping",
      plant: (machine) => {
        watch(machine);
        const { vram } = machine.shadow.logDirty;
        const cell = vram.mappingOf(1);
        machine.locked((shadow) => {
          shadow.unshadow.removeAllMappings(machine.frame(PAGE + 1));
          shadow.flushAll();
        });
        vram.setMapping(1, cell);
      },
      says: /^cell 0x[0-9a-f]+ is recorded to let gfn 0x81 be written, but does not$/,
    },
    {
      what: "the record of another page",
      plant: (machine) => {
        watch(machine);
        const { vram } = machine.shadow.logDirty;
        vram.setMapping(0, vram.mappingOf(1));
        vram.setDirty(0);
      },
      says: /^cell 0x[0-9a-f]+ is recorded to let gfn 0x80 be written, but does not$/,
    },
  ],
  "vram-changes-are-seen": [
    {
      what: "a leaf that lets a page be written while nothing is scanned",
      plant: (machine) => {
        watch(machine);
        machine.machine.domain.write(DomainCell.vramIdle, 1);
      },
      says: /^a leaf lets gfn 0x81 be written, but nothing is scanned$/,
    },
    {
      what: "a D bit that was cleared without a flush",
      plant: (machine) => {
        watch(machine);
        const { memory } = machine.machine;
        const cell = machine.shadow.logDirty.vram.mappingOf(1);
        const low = memory.loadEntry(cell);
        memory.storeEntry(cell, low & ~0x40, memory.high);
      },
      says: /^vCPU 0 can write gfn 0x81 unseen through its TLB, page 0x[0-9a-f]+$/,
    },
    {
      what: "a TLB with the translation of a mapping that went",
      plant: (machine) => {
        watch(machine);
        machine.cpu.vcpu.tlb.insert(
          0x7000_0000,
          0,
          machine.frame(PAGE + 2),
          TlbFlag.writable | TlbFlag.dirty,
        );
      },
      says: /^vCPU 0 can write gfn 0x82 unseen through its TLB, page 0x[0-9a-f]+$/,
    },
    {
      what: "an entry of the p2m that was not protected again",
      paging: "hap",
      plant: (machine) => {
        watch(machine);
        forgetBits(machine);
      },
      says: /^the p2m tables let gfn 0x81 be written unseen$/,
    },
  ],
};
