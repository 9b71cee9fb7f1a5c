/** Faults in the p2m tables that hardware walks in hap mode, for the invariants that are about those. */
import { P2mType } from "../../src/hypervisor/p2m-type.ts";
import { ShadowType } from "../../src/hypervisor/shadow/shadow-type.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { mfn } from "../../src/memory/units.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import type { TestMachine } from "../hypervisor/test-machine.ts";
import type { Plant } from "./plants.ts";

const PAGE = 0x80;

/** Cell of the p2m's entry for a gfn below 512 at a level. */
function p2mCell({ machine }: TestMachine, gfn: number, level: number): number {
  const { memory, domain } = machine;
  let table = domain.read(DomainCell.p2mRoot);
  for (let at = 4; at > level; at--) table = memory.loadEntry(table << 10) >>> 12;
  return (table << 10) | (level === 1 ? gfn << 1 : 0);
}

function changeP2m(machine: TestMachine, gfn: number, level: number, change: (low: number) => number): void {
  const { memory } = machine.machine;
  const cell = p2mCell(machine, gfn, level);
  memory.storeEntry(cell, change(memory.loadEntry(cell)), 0);
}

/** The faults, by the name of the invariant. */
export const HAP_PLANTS: Readonly<Record<string, readonly Plant[]>> = {
  "p2m-tables-follow-p2m": [
    {
      what: "an entry that names another frame",
      paging: "hap",
      plant: (machine) => changeP2m(machine, PAGE, 1, (low) => low ^ (1 << 12)),
      says: /^hardware finds 0x[0-9a-f]+ at gfn 0x80, the p2m has 0x[0-9a-f]+$/,
    },
    {
      what: "an entry that was not taken away with the page",
      paging: "hap",
      plant: (machine) => {
        const cell = p2mCell(machine, PAGE, 1);
        const { memory } = machine.machine;
        const low = memory.loadEntry(cell);
        machine.toolstack.removePage(PAGE);
        memory.storeEntry(cell, low, 0);
      },
      says: /^hardware finds 0x[0-9a-f]+ at gfn 0x80, the p2m has none$/,
    },
    {
      what: "an entry that is missing",
      paging: "hap",
      plant: (machine) => changeP2m(machine, PAGE, 1, () => 0),
      says: /^the p2m has memory at 256 gfns, its tables map 255$/,
    },
    {
      what: "an entry that lets read-only memory be written",
      paging: "hap",
      plant: (machine) => {
        machine.toolstack.types.setType(PAGE, P2mType.ramRo);
        changeP2m(machine, PAGE, 1, (low) => low | 2);
      },
      says: /^hardware may write gfn 0x80, which is ram_ro$/,
    },
    {
      what: "an upper entry that withholds a right",
      paging: "hap",
      plant: (machine) => changeP2m(machine, PAGE, 3, (low) => low & ~2),
      says: /^the p2m's entry for gfn 0x0 at level 3 withholds rights: 0x[0-9a-f]+ PUAD$/,
    },
  ],
  "p2m-tables-are-counted": [
    {
      what: "a page lent for no table",
      paging: "hap",
      plant: ({ machine }) => {
        const page = mfn(machine.domain.read(DomainCell.poolHead));
        machine.domain.write(DomainCell.poolHead, machine.frames.nextFrame(page));
        machine.domain.increase(DomainCell.poolFree, -1);
        machine.domain.increase(DomainCell.poolTotal, -1);
        machine.domain.increase(DomainCell.p2mPages, 1);
        machine.frames.setType(page, ShadowType.p2m_table);
      },
      says: /^page 0x[0-9a-f]+ is lent to the p2m, but none of its tables$/,
    },
    {
      what: "a vCPU that walks from another table",
      paging: "hap",
      plant: (machine) => {
        const { vcpu } = machine.cpuAt(1);
        vcpu.setRegister(
          VcpuCell.nestedRoot,
          machine.machine.memory.loadEntry(p2mCell(machine, 0, 2)) >>> 12,
        );
      },
      says: /^vCPU 1 walks from 0x[0-9a-f]+, the p2m's top table is 0x[0-9a-f]+$/,
    },
  ],
};

/** A cache of hap, whose leaf tables are the guest's pages. */
export const HAP_CACHE_PLANT: Plant = {
  what: "a cache that points to a page that is not the guest's",
  paging: "hap",
  plant: ({ machine, cpu }) =>
    cpu.vcpu.structureCache.insert(0x7000_0000, 0, mfn(machine.domain.read(DomainCell.p2mRoot)), 2),
  says: /^vCPU 0 has cached 0x[0-9a-f]+ as a leaf table, which is not guest memory$/,
};
