/** For each invariant of the audit, faults that it and nothing else must find. */
import { P2mType } from "../../src/hypervisor/p2m-type.ts";
import { hashBucket } from "../../src/hypervisor/shadow/hash.ts";
import { SLOTS } from "../../src/hypervisor/shadow/out-of-sync-slots.ts";
import { ShadowType } from "../../src/hypervisor/shadow/shadow-type.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { OUT_OF_SYNC, SHADOWED } from "../../src/memory/frame-table.ts";
import { mfn } from "../../src/memory/units.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { TlbFlag } from "../../src/machine/tlb.ts";
import { Bit, KERNEL_PAGE, USER_PAGE, entryOf } from "../hypervisor/guest-tables.ts";
import type { GuestLevels } from "../hypervisor/guest-tables.ts";
import type { PagingMode } from "../../src/hypervisor/machine-config.ts";
import { HAP_CACHE_PLANT, HAP_PLANTS } from "./hap-plants.ts";
import { VRAM_PLANTS } from "./vram-plants.ts";
import { TestMachine } from "../hypervisor/test-machine.ts";

/** One fault: what is wrong, how to make it so, and what the audit says. */
export interface Plant {
  readonly what: string;
  /** Levels of the guest; 4 unless the fault needs another. */
  readonly levels?: GuestLevels;
  /** The assistance mode; shadow unless the fault is one of hap's. */
  readonly paging?: PagingMode;
  /** Whether the leaf table of `ADDRESS` is out of sync. */
  readonly isOutOfSync?: true;
  readonly plant: (machine: TestMachine) => void;
  readonly says: RegExp;
}

/** Where the guest of `richMachine` has what. */
const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
const ABSENT = ADDRESS + 0x4000n;
const DEVICE = ADDRESS + 0x5000n;
const TABLE_WINDOW = ADDRESS + 0x6000n;
const DEVICE_GFN = 0x5000;

/** A machine that has of everything: pages, large pages, devices, absent entries, tables shown as pages, several roots. */
export function richMachine(
  levels: GuestLevels,
  paging: PagingMode = "shadow",
  isOutOfSync = false,
): TestMachine {
  const switches = { "out-of-sync": isOutOfSync };
  const machine = new TestMachine({
    levels,
    paging,
    vcpus: 2,
    structureCacheEntries: 16,
    poolPages: 300,
    switches,
  });
  const trees = [machine.tables, machine.newTables()];
  for (const tree of trees) {
    for (let index = 0; index < 4; index++) tree.map(ADDRESS + BigInt(index * 4096), PAGE + index, USER_PAGE);
    tree.map(DEVICE, DEVICE_GFN, USER_PAGE);
    tree.map(TABLE_WINDOW, tree.tableAt(ADDRESS, 1), KERNEL_PAGE);
  }
  for (const [index, cpu] of machine.cpus.entries()) {
    cpu.boot(trees[index]);
    for (let page = 0; page < 4; page++) cpu.write(ADDRESS + BigInt(page * 4096), BigInt(page));
    for (const address of [DEVICE, ABSENT, TABLE_WINDOW]) cpu.load(address);
    cpu.write(machine.direct((PAGE + 4) * 4096), 1n);
    cpu.cr3((trees[1 - index] ?? machine.tables).cr3);
    cpu.read(ADDRESS);
    cpu.write(ADDRESS + 0x1000n, 5n);
  }
  if (isOutOfSync) machine.cpuAt(1).write(TABLE_WINDOW + 0xff8n, 0n);
  return machine;
}

/** Logs writes from now on; the vCPUs, which are paused for it, run again. */
function startLogging(machine: TestMachine): void {
  machine.toolstack.dirty.enable();
  for (const cpu of machine.cpus) cpu.read(DEVICE);
}

/** First cell of the slot that the leaf table of `ADDRESS` is in, of the slots' pages or snapshots. */
function slotCell(machine: TestMachine, cells: number): number {
  const { slots } = machine.shadow.outOfSync;
  const slot = slots.slotOf(machine.frame(machine.tables.tableAt(ADDRESS, 1)));
  return machine.cpuAt(slots.ownerOf(slot)).vcpu.area + cells + (slot % SLOTS);
}

/** Cell of a guest entry in the machine's memory. */
function guestCell(machine: TestMachine, address: bigint, level: number): number {
  const at = machine.tables.entryAt(address, level);
  return (machine.frame(Math.floor(at / 4096)) << 10) | ((at % 4096) >>> 2);
}

/** Changes a guest entry behind everybody's back. */
function changeGuest(
  machine: TestMachine,
  address: bigint,
  level: number,
  change: (entry: bigint) => bigint,
): void {
  machine.tables.write(
    machine.tables.entryAt(address, level),
    change(machine.tables.read(machine.tables.entryAt(address, level))),
  );
}

/** Cell of the shadow leaf of an address, in the tree that `machine.tables` is the root of. */
function leafCell(machine: TestMachine, address: bigint): number {
  const { tables } = machine.cpuAt(1).hosted.shadow;
  if (!tables.findLeaf(Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n))))
    throw new Error("there is no leaf");
  return tables.leafCell;
}

function changeShadow(machine: TestMachine, cell: number, change: (low: number) => number): void {
  const { memory } = machine.machine;
  const low = memory.loadEntry(cell);
  memory.storeEntry(cell, change(low), memory.high);
}

/** The shadow of the leaf table of an address. */
function leafShadow(machine: TestMachine): Mfn {
  return machine.shadowOf(machine.tables.tableAt(ADDRESS, 1), [0, 0, 1, 4, 7][machine.levels] ?? 0);
}

function cut(machine: TestMachine, list: "pool" | "heap", count: number): void {
  const { domain, frames } = machine.shadow;
  const [head, free] =
    list === "pool" ? [DomainCell.poolHead, DomainCell.poolFree] : [DomainCell.heapHead, DomainCell.heapFree];
  domain.write(head, frames.nextFrame(mfn(domain.read(head))));
  domain.increase(free, count);
}

/** The faults, by the name of the invariant. */
export const PLANTS: Readonly<Record<string, readonly Plant[]>> = {
  ...HAP_PLANTS,
  "tlbs-respect-pagetables": [
    {
      what: "a flush that was dropped",
      plant: (machine) => {
        const table = machine.frame(machine.tables.tableAt(ADDRESS, 1));
        machine.cpuAt(1).vcpu.tlb.insert(0x7000_0000, 0, table, TlbFlag.writable);
      },
      says: /^vCPU 1 can write to pagetable 0x[0-9a-f]+ through its TLB, page 0x70000$/,
    },
  ],
  "tlbs-map-guest-memory": [
    {
      what: "a translation that outlived its page",
      plant: (machine) => {
        const frame = mfn(machine.shadow.domain.read(DomainCell.heapHead));
        machine.cpu.vcpu.tlb.insert(0x7000_0000, 0, frame, TlbFlag.user);
      },
      says: /^vCPU 0 maps frame 0x[0-9a-f]+, which is not guest memory, at page 0x70000$/,
    },
  ],
  "cached-tables-are-tables": [
    {
      what: "a cache that points to a page of the guest",
      plant: (machine) => machine.cpu.vcpu.structureCache.insert(0x7000_0000, 0, machine.frame(PAGE), 2),
      says: /^vCPU 0 has cached 0x[0-9a-f]+ as a leaf table, which it no longer is$/,
    },
    {
      what: "a cache that points to a table of another level",
      plant: (machine) => machine.cpu.vcpu.structureCache.insert(0x7000_0000, 0, machine.cpu.root(), 2),
      says: /^vCPU 0 has cached 0x[0-9a-f]+ as a leaf table, which it no longer is$/,
    },
    {
      what: "a cache that points to a free page whose flush is over",
      plant: (machine) => {
        const page = mfn(machine.shadow.domain.read(DomainCell.poolHead));
        machine.cpu.vcpu.structureCache.insert(0x7000_0000, 0, page, 2);
      },
      says: /^vCPU 0 has cached leaf table 0x[0-9a-f]+, which is free, and nobody will flush it$/,
    },
    HAP_CACHE_PLANT,
  ],
  "entries-grant-no-more": [
    ...([2, 3, 4] as const).map((levels): Plant => ({
      what: `a leaf that stayed writable with ${String(levels)} levels`,
      levels,
      plant: (machine) => changeGuest(machine, ADDRESS, 1, (entry) => entry & ~Bit.w),
      says: /entry 0 is writable, the guest's is not: shadow 0x[0-9a-f]+ P[A-Z]+, guest 0x[0-9a-f]+ P[A-Z]+$/,
    })),
    {
      what: "a leaf that stayed present",
      plant: (machine) => changeGuest(machine, ADDRESS, 1, (entry) => entry & ~Bit.p),
      says: /entry 0 is present, the guest's is not/,
    },
    {
      what: "a leaf whose A the guest has cleared",
      plant: (machine) => changeGuest(machine, ADDRESS, 1, (entry) => entry & ~Bit.a),
      says: /entry 0 is present, the guest's has A clear/,
    },
    {
      what: "a leaf whose D the guest has cleared",
      plant: (machine) => changeGuest(machine, ADDRESS, 1, (entry) => entry & ~Bit.d),
      says: /entry 0 is writable, the guest's has D clear/,
    },
    {
      what: "a leaf that user mode lost",
      plant: (machine) => changeGuest(machine, ADDRESS, 1, (entry) => entry & ~Bit.u),
      says: /entry 0 differs in U\/S/,
    },
    {
      what: "a leaf that lost XD",
      plant: (machine) => changeGuest(machine, ADDRESS, 1, (entry) => entry | Bit.nx),
      says: /entry 0 differs in NX/,
    },
    {
      what: "an upper entry that stayed writable",
      plant: (machine) => changeGuest(machine, ADDRESS, 3, (entry) => entry & ~Bit.w),
      says: /^l3_64 shadow .* is writable, the guest's is not/,
    },
    ...([2, 4] as const).map((levels): Plant => ({
      what: `a clean large page that is writable with ${String(levels)} levels`,
      levels,
      plant: (machine) => changeGuest(machine, machine.direct(0), 2, (entry) => entry & ~Bit.d),
      says: /^l2_\d+ shadow .* is writable, the guest's has D clear/,
    })),
    {
      what: "a leaf that grants more than the snapshot of its out-of-sync table",
      isOutOfSync: true,
      plant: (machine) => {
        const { memory } = machine.machine;
        changeShadow(
          machine,
          memory.loadGuarded(slotCell(machine, VcpuCell.snapshots)) << 10,
          (low) => low & ~2,
        );
      },
      says: /^l1_64 shadow .* entry 0 is writable, the guest's is not/,
    },
  ],
  "out-of-sync-pages-have-slots": [
    {
      what: "a page that fell out of its slot",
      isOutOfSync: true,
      plant: (machine) => machine.machine.memory.storeGuarded(slotCell(machine, VcpuCell.outOfSync), 0),
      says: /^page 0x[0-9a-f]+ is out of sync and in 0 slots$/,
    },
    {
      what: "a page that thinks it is in sync",
      isOutOfSync: true,
      plant: (machine) => {
        const { frames } = machine.shadow;
        const table = machine.frame(machine.tables.tableAt(ADDRESS, 1));
        frames.setShadowFlags(table, frames.shadowFlags(table) & ~OUT_OF_SYNC);
      },
      says: /^page 0x[0-9a-f]+ is out of sync or may be written, but not both/,
    },
    {
      what: "a shadow that does not know",
      isOutOfSync: true,
      plant: (machine) => {
        const { frames } = machine.shadow;
        frames.setState(leafShadow(machine), 2);
      },
      says: /^shadow 0x[0-9a-f]+ says that 0x[0-9a-f]+ is in sync, which it is not$/,
    },
    {
      what: "a table of level 2 in a slot",
      isOutOfSync: true,
      plant: (machine) => {
        const table = machine.frame(machine.tables.tableAt(ADDRESS, 2));
        const { frames } = machine.shadow;
        frames.setShadowFlags(table, frames.shadowFlags(table) | (3 << 28));
        const cells = machine.cpu.vcpu.area + VcpuCell.outOfSync + (table % SLOTS);
        machine.machine.memory.storeGuarded(cells, table);
        machine.machine.memory.storeGuarded(
          machine.cpu.vcpu.area + VcpuCell.fixups + 3 * (table % SLOTS) + 1,
          0,
        );
      },
      says: /^slot \d of vCPU 0 holds page 0x[0-9a-f]+, whose shadows are 0x200: not one of level 1$/,
    },
  ],
  "out-of-sync-writers-are-recorded": [
    {
      what: "a writer that nobody recorded",
      isOutOfSync: true,
      plant: (machine) => {
        const { outOfSync } = machine.shadow;
        outOfSync.slots.clearFixups(
          outOfSync.slots.slotOf(machine.frame(machine.tables.tableAt(ADDRESS, 1))),
        );
      },
      says: /^1 leaves let out-of-sync page 0x[0-9a-f]+ be written, 0 are recorded$/,
    },
  ],
  "leaves-follow-p2m": [
    {
      what: "a leaf that maps another page than the guest's entry",
      plant: (machine) => changeGuest(machine, ADDRESS, 1, (entry) => entry ^ (4n << 12n)),
      says: /entry 0 maps 0x[0-9a-f]+, the p2m has 0x[0-9a-f]+ for gfn 0x84$/,
    },
    {
      what: "a leaf of a large page that lacks a right",
      plant: (machine) =>
        changeShadow(machine, leafCell(machine, machine.direct((PAGE + 4) * 4096)), (low) => low & ~4),
      says: /^fl1_64 shadow 0x[0-9a-f]+ of 0x0 entry 132 lacks rights of a superpage/,
    },
  ],
  "read-only-pages-are-protected": [
    {
      what: "a page whose type alone was changed",
      plant: (machine) => {
        machine.machine.p2m.writeEntry(PAGE, machine.frame(PAGE), P2mType.ramRo);
      },
      says: /^l1_64 shadow 0x[0-9a-f]+ entry 0 lets gfn 0x80, which is ram_ro, be written$/,
    },
    {
      what: "a TLB that lets a page be written whose writes are to be noted",
      plant: (machine) => {
        machine.toolstack.types.setType(PAGE, P2mType.ramLogdirty);
        machine.cpu.vcpu.tlb.insert(0x7000_0000, 0, machine.frame(PAGE), TlbFlag.writable);
      },
      says: /^vCPU 0 can write gfn 0x80, which is ram_logdirty, through its TLB, page 0x[0-9a-f]+$/,
    },
  ],
  "magic-entries-are-true": [
    {
      what: "an absent entry that the guest has filled",
      plant: (machine) => changeGuest(machine, ABSENT, 1, () => entryOf(PAGE, USER_PAGE)),
      says: /entry 4 says not present, guest 0x80067/,
    },
    {
      what: "a device that is another one now",
      plant: (machine) => changeGuest(machine, DEVICE, 1, () => entryOf(DEVICE_GFN + 1, USER_PAGE)),
      says: /entry 5 is MMIO of gfn 0x5000, guest 0x5001067/,
    },
    {
      what: "a device whose entry the guest has cleared",
      plant: (machine) => changeGuest(machine, DEVICE, 1, () => 0n),
      says: /entry 5 is MMIO of gfn 0x5000, guest 0x0/,
    },
    {
      what: "a device where there is memory",
      plant: (machine) => {
        changeGuest(machine, DEVICE, 1, () => entryOf(PAGE, USER_PAGE));
        changeShadow(machine, leafCell(machine, DEVICE), () => (PAGE << 4) | 7);
      },
      says: /entry 5 is MMIO, but gfn 0x80 is memory$/,
    },
  ],
  "upper-entries-follow-guest": [
    ...([2, 3, 4] as const).map((levels): Plant => ({
      what: `an entry to a table that the guest has replaced with ${String(levels)} levels`,
      levels,
      plant: (machine) => changeGuest(machine, ADDRESS, 2, (entry) => entry ^ (1n << 12n)),
      says: /^l2_\w+ shadow .* points to a l1_\w+ of 0x[0-9a-f]+, the guest names gfn 0x[0-9a-f]+$/,
    })),
    {
      what: "an entry to a large page that is a table now",
      plant: (machine) => changeGuest(machine, machine.direct(0), 2, (entry) => entry & ~Bit.ps),
      says: /^l2_64 shadow .* points to a fl1_64 of 0x0, the guest names gfn 0x0$/,
    },
    {
      what: "an odd half that points elsewhere",
      levels: 2,
      plant: (machine) => {
        const { tables } = machine.cpuAt(1).hosted.shadow;
        tables.findLeaf(Number(ADDRESS), 0);
        machine.machine.memory.storeEntry(tables.level2Cell + 2, 0, 0);
      },
      says: /its odd half is 0x0/,
    },
  ],
  "roots-are-loaded": [
    {
      what: "hardware that walks another root",
      plant: (machine) => machine.cpu.vcpu.setRegister(VcpuCell.hardwareRoot, machine.cpuAt(1).root()),
      says: /^vCPU 0 walks from 0x[0-9a-f]+, its root is 0x[0-9a-f]+$/,
    },
    ...([2, 3] as const).map((levels): Plant => ({
      what: `a PDPTE that names another table with ${String(levels)} levels`,
      levels,
      plant: ({ machine, cpu }) => machine.memory.storeEntry(cpu.vcpu.area + VcpuCell.pdptes + 4, 0, 0),
      says: /^PDPTE 2 of vCPU 0 is 0x0, its root is 0x[0-9a-f]+$/,
    })),
    {
      what: "a PDPTE with rights",
      levels: 3,
      plant: (machine) => changeShadow(machine, machine.cpu.vcpu.area + VcpuCell.pdptes, (low) => low | 2),
      says: /^PDPTE 0 of vCPU 0 is 0x[0-9a-f]+, its root is 0x[0-9a-f]+$/,
    },
  ],
  "pagetables-are-read-only": [
    {
      what: "a revocation that was skipped",
      plant: (machine) => {
        changeShadow(machine, leafCell(machine, TABLE_WINDOW), (low) => low | 2);
        const table = machine.frame(machine.tables.tableAt(ADDRESS, 1));
        machine.shadow.frames.setTypecount(table, 1);
      },
      says: /^a leaf lets pagetable 0x[0-9a-f]+ be written$/,
    },
  ],
  "typecounts-are-exact": [
    {
      what: "a writer that was not counted",
      plant: (machine) => {
        const frame = machine.frame(PAGE);
        machine.shadow.frames.setTypecount(frame, machine.shadow.frames.typecount(frame) - 1);
      },
      says: /^page 0x[0-9a-f]+ has typecount \d, \d writable leaves map it$/,
    },
  ],
  "page-counts-are-exact": [
    {
      what: "a reference that was leaked",
      plant: (machine) => {
        machine.shadow.pages.getReference(machine.frame(PAGE));
      },
      says: /^page 0x[0-9a-f]+ has \d references, \d are found$/,
    },
  ],
  "shadow-counts-are-exact": [
    {
      what: "a reference that was leaked",
      plant: (machine) => {
        machine.shadow.references.getShadow(machine.cpu.root(), 0);
      },
      says: /^l4_64 shadow 0x[0-9a-f]+ has 3 references, 2 are found$/,
    },
    {
      what: "a shadow that nobody refers to",
      plant: (machine) => {
        machine.locked(({ pool, destruction }) => {
          pool.prealloc(ShadowType.l1_64, 1);
          destruction.make(machine.frame(PAGE + 0x60), ShadowType.l1_64);
        });
      },
      says: /^l1_64 shadow 0x[0-9a-f]+ lives without a reference$/,
    },
  ],
  "upward-links-are-true": [
    {
      what: "a link to the entry beside",
      plant: (machine) => {
        const { frames } = machine.shadow;
        const shadow = leafShadow(machine);
        frames.setUp(shadow, frames.up(shadow) + 2);
      },
      says: /^l1_64 shadow 0x[0-9a-f]+ names cell 0x[0-9a-f]+ as its parent, which is not one$/,
    },
    {
      what: "a link into a page that is no shadow",
      plant: (machine) => machine.shadow.frames.setUp(leafShadow(machine), guestCell(machine, ADDRESS, 2)),
      says: /names cell 0x[0-9a-f]+ as its parent, which is not one$/,
    },
  ],
  "shadows-are-hashed": [
    {
      what: "a shadow that fell out of its chain",
      plant: (machine) => {
        const shadow = leafShadow(machine);
        const { frames, hash } = machine.shadow;
        hash.remove(frames.back(shadow), frames.type(shadow), shadow);
      },
      says: /^l1_64 shadow 0x[0-9a-f]+ of 0x[0-9a-f]+ is not in the hash$/,
    },
    {
      what: "a shadow in another bucket",
      plant: (machine) => {
        const shadow = leafShadow(machine);
        const { frames, hash } = machine.shadow;
        const back = frames.back(shadow);
        hash.remove(back, ShadowType.l1_64, shadow);
        let other = back + 1;
        while (hashBucket(other, ShadowType.l1_64) === hashBucket(back, ShadowType.l1_64)) other++;
        hash.insertShadow(other, ShadowType.l1_64, shadow);
      },
      says: /^shadow 0x[0-9a-f]+ is in bucket \d+, which is not that of its key$/,
    },
  ],
  "shadows-are-unique": [
    {
      what: "a second shadow of one table",
      plant: (machine) => {
        machine.locked(({ pool, hash, pages, references, frames }) => {
          const back = mfn(frames.back(machine.cpu.root()));
          const second = pool.alloc(ShadowType.l4_64, 1, back);
          pages.getReference(back);
          hash.insertShadow(back, ShadowType.l4_64, second);
          references.pin(second);
        });
      },
      says: /^a second l4_64 shadow 0x[0-9a-f]+ exists for 0x[0-9a-f]+$/,
    },
  ],
  "flags-match-shadows": [
    {
      what: "a page that is taken for a pagetable",
      plant: (machine) => machine.shadow.frames.setShadowFlags(machine.frame(PAGE + 0x40), SHADOWED | 2),
      says: /^page 0x[0-9a-f]+ has shadow flags 0x40000002, its shadows are 0x0$/,
    },
  ],
  "pinned-list-is-exact": [
    {
      what: "a list that is not linked back",
      plant: ({ shadow }) => {
        const second = shadow.frames.nextFrame(mfn(shadow.domain.read(DomainCell.pinnedHead)));
        shadow.frames.setPreviousFrame(second, 0);
      },
      says: /^the pinned list is not linked back at 0x[0-9a-f]+$/,
    },
    {
      what: "a pinned shadow that is not in the list",
      plant: (machine) => {
        const { frames } = machine.shadow;
        const shadow = leafShadow(machine);
        frames.setState(shadow, frames.state(shadow) | 1);
        frames.setCount(shadow, frames.count(shadow) + 1);
      },
      says: /^shadow 0x[0-9a-f]+ is pinned but not in the list$/,
    },
    {
      what: "a shadow in the list that is not pinned",
      plant: ({ shadow }) => {
        const head = mfn(shadow.domain.read(DomainCell.pinnedHead));
        shadow.frames.setState(head, 2);
        shadow.frames.setCount(head, shadow.frames.count(head) - 1);
      },
      says: /^the pinned list holds 0x[0-9a-f]+, which is not pinned or is in it twice$/,
    },
  ],
  "pool-is-complete": [
    {
      what: "a page that was lost",
      plant: (machine) => cut(machine, "pool", -1),
      says: /^page 0x[0-9a-f]+ is free but not on the list$/,
    },
    {
      what: "a free list that is longer than it says",
      plant: ({ shadow }) => shadow.domain.increase(DomainCell.poolFree, -1),
      says: /^the pool's free list has \d+ pages, its count says \d+$/,
    },
    {
      what: "a page in use on the free list",
      plant: ({ shadow }) =>
        shadow.frames.setType(mfn(shadow.domain.read(DomainCell.poolHead)), ShadowType.monitor_table),
      says: /^page 0x[0-9a-f]+ on the pool's free list is in use$/,
    },
    {
      what: "a page on the free list twice",
      plant: ({ shadow }) => {
        const head = mfn(shadow.domain.read(DomainCell.poolHead));
        shadow.frames.setNextFrame(mfn(shadow.domain.read(DomainCell.poolTail)), head);
      },
      says: /^page 0x[0-9a-f]+ is on the pool's free list twice$/,
    },
    {
      what: "a total that is wrong",
      plant: ({ shadow }) => shadow.domain.increase(DomainCell.poolTotal, 1),
      says: /^the pool has \d+ pages, its count says \d+$/,
    },
  ],
  "heap-is-complete": [
    {
      what: "a frame that was lost",
      plant: (machine) => cut(machine, "heap", -1),
      says: /^frame 0x[0-9a-f]+ belongs to nobody and is not on the free list$/,
    },
    {
      what: "a free list that is longer than it says",
      plant: ({ shadow }) => shadow.domain.increase(DomainCell.heapFree, -1),
      says: /^the free list has \d+ frames, its count says \d+$/,
    },
    {
      what: "a frame on the free list twice",
      plant: ({ shadow }) => {
        const head = mfn(shadow.domain.read(DomainCell.heapHead));
        shadow.frames.setNextFrame(mfn(shadow.domain.read(DomainCell.heapTail)), head);
      },
      says: /^frame 0x[0-9a-f]+ is on the free list twice$/,
    },
  ],
  "writable-pages-are-dirty": [
    {
      what: "a leaf that lets a clean page be written",
      plant: (machine) => {
        startLogging(machine);
        machine.cpuAt(1).write(ADDRESS, 1n);
        changeShadow(machine, leafCell(machine, ADDRESS), (low) => low & ~2);
        machine.shadow.frames.setTypecount(machine.frame(PAGE), 0);
        machine.locked((shadow) => {
          shadow.logDirty.takeMarks();
          shadow.logDirty.dropHarvest();
        });
        changeShadow(machine, leafCell(machine, ADDRESS), (low) => low | 2);
        machine.shadow.frames.setTypecount(machine.frame(PAGE), 1);
      },
      says: /^l1_64 shadow 0x[0-9a-f]+ entry 0 lets gfn 0x80 be written, which is not dirty$/,
    },
    {
      what: "a TLB that lets a clean page be written",
      plant: (machine) => {
        startLogging(machine);
        const { vcpu } = machine.cpu;
        machine.cpu.read(ADDRESS);
        vcpu.tlb.insert(0x7000_0000, 0, machine.frame(PAGE + 2), TlbFlag.writable);
      },
      says: /^vCPU 0 can write gfn 0x82 through its TLB, page 0x[0-9a-f]+, and it is not dirty$/,
    },
  ],
  ...VRAM_PLANTS,
  "dirty-trees-are-exact": [
    {
      what: "a mark that was not counted",
      plant: (machine) => {
        startLogging(machine);
        machine.cpu.write(ADDRESS, 1n);
        machine.shadow.domain.increase(DomainCell.dirtyCount, -1);
      },
      says: /^the tree of dirty pages has 1 bits, its count says 0$/,
    },
    {
      what: "a tree without pages of the pool",
      plant: (machine) => {
        startLogging(machine);
        machine.shadow.domain.write(DomainCell.harvestTree, machine.frame(PAGE));
      },
      says: /^the tree of a harvest has a node that is no page of the pool's, or is in it twice$/,
    },
    {
      what: "pages that were lent and are lost",
      plant: (machine) => {
        startLogging(machine);
        machine.cpu.write(ADDRESS, 1n);
        for (const cell of [DomainCell.dirtyTree, DomainCell.dirtyCount])
          machine.shadow.domain.write(cell, 0);
        machine.shadow.domain.write(DomainCell.failedMarks, 1);
      },
      says: /^the pool has lent 4 pages, trees of dirty pages have 0$/,
    },
    {
      what: "a tree that is left when logging is over",
      plant: (machine) => {
        startLogging(machine);
        machine.cpu.write(ADDRESS, 1n);
        machine.shadow.domain.write(DomainCell.logDirty, 0);
      },
      says: /^there are trees of dirty pages, but nothing is logged$/,
    },
  ],
};
