/**
 * A guest that does anything at all: each operation is a handful of small numbers, read modulo what there is to choose
 * from, so that any list of numbers is a guest and a shorter list is a simpler one. Beside the machine runs the flat
 * reference, which judges every answer.
 */
import { PRESETS, SWITCH_NAMES } from "../../src/hypervisor/machine-config.ts";
import type { MachineConfig, Switches } from "../../src/hypervisor/machine-config.ts";
import { Cr0, Cr4, Efer } from "../../src/machine/control-registers.ts";
import { Status } from "../../src/machine/exits.ts";
import { POISON } from "../../src/memory/frame-table.ts";
import { Bit, KERNEL_PAGE, USER_PAGE, directBase, entryBytes, entryOf, slotOf } from "./guest-tables.ts";
import type { GuestLevels, GuestTables } from "./guest-tables.ts";
import { FlatGuest, entrySize } from "./reference-guest.ts";
import type { FlatCpu, Wish } from "./reference-guest.ts";
import { FlatMemory } from "./reference-walk.ts";
import { TestMachine } from "./test-machine.ts";
import type { Access, TestCpu } from "./test-machine.ts";

/** One operation: its kind, its vCPU, and what the kind makes of the rest. */
export type Step = readonly [kind: number, vcpu: number, a: number, b: number, c: number, d: number];

/** A machine for such a guest. */
export interface Plan {
  readonly levels: GuestLevels;
  readonly vcpus: number;
  /** An index into `SWITCH_SETS`. */
  readonly switchSet: number;
  readonly tlbSets: number;
  readonly tlbWays: number;
  readonly structureCacheEntries: number;
  readonly reuseLast: boolean;
  /** Whether the shadow pool is as small as can be. */
  readonly tinyPool: boolean;
  /** Whether vCPUs switch to other formats of tables, over the same memory. */
  readonly mixed: boolean;
  /** Whether the 1–1 map is of small pages, clean ones, so that nothing maps a page that the guest has not used. */
  readonly smallMap: boolean;
}

const PAGES = 48;
const TABLES_FROM = 4;
const DATA_FROM = 32;

/** The eras, each switch of the talk turned off alone, later ones added to it alone, and each turned on alone. */
export const SWITCH_SETS: readonly { readonly name: string; readonly switches: Switches }[] = [
  { name: "talk", switches: PRESETS.talk },
  { name: "talk-before", switches: PRESETS["talk-before"] },
  ...SWITCH_NAMES.flatMap((name) => [
    {
      name: `${PRESETS.talk[name] ? "without" : "with"} ${name}`,
      switches: { ...PRESETS.talk, [name]: !PRESETS.talk[name] },
    },
    { name: `only ${name}`, switches: { ...PRESETS["talk-before"], [name]: true } },
  ]),
  { name: "xen-3.3", switches: PRESETS["xen-3.3"] },
  { name: "umbra", switches: PRESETS.umbra },
];

/** Operations between two comparisons of all memory and audits. */
const CHECKED_EVERY = 24;

/** Where linear maps are put, by levels: what kernels that use them choose. */
const SELF_MAPS = { 2: 0xbfc0_0000n, 3: 0xbf80_0000n, 4: 0xffff_8000_0000_0000n } as const;

/** Places in a region of small pages: the first pages, and those around the middle and the end of a table. */
const SMALL_PAGES = [0, 1, 2, 19, 20, 21, 30, 31, 32, 255, 256, 510, 511, 512, 1023] as const;

const FLAGS: readonly bigint[] = [
  USER_PAGE,
  KERNEL_PAGE,
  USER_PAGE & ~Bit.d,
  USER_PAGE & ~Bit.a,
  USER_PAGE & ~Bit.w,
  KERNEL_PAGE & ~Bit.w,
  Bit.p | Bit.w | Bit.u,
  Bit.p | Bit.u | Bit.a,
  Bit.p,
  0n,
  Bit.w | Bit.u | Bit.a | Bit.d,
  USER_PAGE | Bit.ps,
  (USER_PAGE | Bit.ps) & ~Bit.d,
  KERNEL_PAGE | Bit.ps,
  USER_PAGE | Bit.nx,
  USER_PAGE | Bit.g | 0xe00n,
  USER_PAGE | 0x18n,
  USER_PAGE | (1n << 45n),
  USER_PAGE | (1n << 58n),
  USER_PAGE | Bit.ps | 0x2000n,
];

/** One run. */
export class RandomGuest {
  readonly plan: Plan;
  readonly machine: TestMachine;
  readonly flat: FlatGuest;
  readonly memory: FlatMemory;
  readonly #trees: readonly GuestTables[];
  readonly #initial: Int32Array;
  readonly #lastPages: bigint[] = [0n, 0n, 0n];
  #done = 0;

  constructor(plan: Plan) {
    this.plan = plan;
    const config: Partial<MachineConfig> = {
      vcpus: plan.vcpus,
      ramPages: PAGES,
      poolPages: 256,
      tlbSets: plan.tlbSets,
      tlbWays: plan.tlbWays,
      structureCacheEntries: plan.structureCacheEntries,
      reuse: plan.reuseLast ? "last-in-first-out" : "first-in-first-out",
    };
    this.machine = new TestMachine({
      levels: plan.levels,
      tablesFrom: TABLES_FROM,
      ...config,
      switches: SWITCH_SETS[plan.switchSet % SWITCH_SETS.length]?.switches ?? PRESETS.talk,
    });
    this.#trees = [this.machine.tables, this.machine.newTables()];
    for (const tree of this.#trees) this.#furnish(tree);
    if (plan.smallMap) this.#mapSmall();
    this.memory = new FlatMemory(PAGES);
    for (let word = 0; word < PAGES * 1024; word++)
      this.memory.words[word] = this.machine.ram.readWord(word * 4);
    this.#initial = this.memory.words.slice();
    this.flat = new FlatGuest(this.memory, plan.vcpus, {
      structures: plan.structureCacheEntries !== 0,
      translations: this.machine.shadow.switches["translation-cache"],
    });
    if (plan.tinyPool) this.#shrinkPool();
    for (let vcpu = 0; vcpu < plan.vcpus; vcpu++) this.#boot(vcpu);
  }

  /** Does one operation on both; what is wrong, in words. */
  step(step: Step): string | undefined {
    const complaint = this.#perform(step);
    if (complaint !== undefined) return complaint;
    if (this.machine.machine.domain.isDead()) return this.machine.machine.domain.crashMessage();
    for (const { hosted } of this.machine.cpus) if (!hosted.held.isEmpty()) return "a lock is still held";
    this.#done++;
    return this.#done % CHECKED_EVERY === 0 ? this.check() : undefined;
  }

  /** Compares all of memory and audits; what is wrong, in words. */
  check(): string | undefined {
    const [finding] = this.machine.findings();
    if (finding !== undefined) return finding;
    const { memory, p2m } = this.machine.machine;
    for (let gfn = 0; gfn < PAGES; gfn++) {
      const frame = p2m.frameOf(gfn);
      if (frame >= 0 !== this.memory.has(gfn)) return `gfn ${String(gfn)} is and is not memory`;
      if (frame < 0) continue;
      for (let word = 0; word < 1024; word++) {
        const is = memory.view[(frame << 10) | word] ?? 0;
        const due = this.memory.words[gfn * 1024 + word] ?? 0;
        if (is !== due)
          return `word ${String(word)} of gfn ${String(gfn)} is 0x${(is >>> 0).toString(16)}, not 0x${(due >>> 0).toString(16)}`;
      }
    }
    return undefined;
  }

  /** Checks once more and takes the domain apart; what is wrong, in words. */
  finish(): string | undefined {
    const complaint = this.check();
    if (complaint !== undefined) return complaint;
    return this.machine.teardown()[0] ?? this.machine.toolstack.findings[0]?.message;
  }

  #perform([kind, vcpu, a, b, c, d]: Step): string | undefined {
    const index = vcpu % this.plan.vcpus;
    switch (kind % 32) {
      case 0:
      case 1:
        return this.#setEntry(index, a, b, c, d);
      case 2:
      case 3:
        return this.#flipBits(index, a, b, c);
      case 4:
        return this.#loadRoot(index, a, b);
      case 5:
        return this.#invalidate(index, a, b);
      case 6:
        return this.#setPrivilege(index, a, b);
      case 7:
        return this.#setRegisters(index, a, b);
      case 8:
        return this.#changeP2m(a, b);
      case 9:
        return this.#deviceWrite(a, b, c, d);
      case 10:
        return this.#repair();
      case 11:
        return a % 8 === 0 ? this.#resizePool(b) : this.#reusePage(index, b, c, d);
      case 13:
        return this.#remap(index, b, c, d);
      case 12:
        return this.#clearTable(index, a, b, c);
      default:
        return this.#access(index, this.#nearAddress(index, a, b), kind, c, d);
    }
  }

  #access(vcpu: number, address: bigint, kind: number, c: number, d: number): string | undefined {
    const size = 1 << (c & 3);
    const kinds = ["load", "store", "load", "exchange", "store", "fetch", "load", "store"] as const;
    const value = d % 5 === 0 ? 0n : BigInt(d) * 0x1_0001_0003n;
    const wish = { kind: kinds[(kind >>> 1) & 7] ?? "load", address, size, value, expected: 0n };
    if (wish.kind !== "exchange") return this.#ask(vcpu, wish);
    return this.#ask(vcpu, { ...wish, expected: c & 4 ? this.#peek(vcpu, address, size) : 0n });
  }

  /** What is there now, if anything: so that a compare-exchange can succeed. */
  #peek(vcpu: number, address: bigint, size: number): bigint {
    const cpu = this.#flat(vcpu);
    const gfn = this.flat.peek(cpu, address);
    if (gfn < 0) return 0n;
    const at = gfn * 4096 + Number(address & 0xfffn);
    if ((at & 4095) + size > 4096) return 0n;
    let value = 0n;
    for (let byte = 0; byte < size; byte++)
      value |= BigInt(this.memory.bytes[at + byte] ?? 0) << BigInt(8 * byte);
    return value;
  }

  #ask(vcpu: number, given: Wish): string | undefined {
    const flat = this.#flat(vcpu);
    const cpu = this.#cpu(vcpu);
    const address = flat.levels === 4 ? BigInt.asUintN(64, given.address) : BigInt.asUintN(32, given.address);
    const wish = { ...given, address };
    if (!this.flat.canBeAsked(flat, wish)) return undefined;
    const answer = run(cpu, wish);
    const isDevice = answer.status === Status.done && cpu.vcpu.frame < 0;
    const device = isDevice ? cpu.vcpu.deviceFrame : -1;
    return this.flat.follow(flat, wish, { ...answer, device }, (at) => this.#actual(at));
  }

  /** A byte of the machine's memory, by guest physical address. */
  #actual(at: number): number {
    const { memory, p2m } = this.machine.machine;
    const frame = p2m.frameOf(Math.floor(at / 4096));
    return frame < 0 ? 0 : memory.loadByte(frame * 4096 + (at & 4095));
  }

  /** Stores an entry into a table through the 1–1 map: whole, or a half of it. */
  #setEntry(vcpu: number, a: number, b: number, c: number, d: number): string | undefined {
    const cpu = this.#flat(vcpu);
    const bytes = entrySize(cpu);
    const at = this.#entryPlace(cpu, a, b);
    const flags = c % 2 === 0 ? USER_PAGE : (FLAGS[(c >>> 1) % FLAGS.length] ?? 0n);
    let value = entryOf(this.#target(d), flags);
    if (c % 23 === 0) value = BigInt(d) * 0x9e37_79b1_7f4a_7c15n;
    if (c % 29 === 0) value = 0n;
    if (bytes === 8 && d % 7 === 0) {
      const half = d % 2;
      const part = BigInt.asUintN(32, half === 0 ? value : value >> 32n);
      return this.#ask(vcpu, this.#storeAt(cpu, at + 4 * half, 4, part));
    }
    return this.#ask(vcpu, this.#storeAt(cpu, at, bytes, value));
  }

  /** Sets or clears single bits of an entry, by compare-exchange or with a byte, as kernels do. */
  #flipBits(vcpu: number, a: number, b: number, c: number): string | undefined {
    const cpu = this.#flat(vcpu);
    const at = this.#entryPlace(cpu, a, b);
    const bytes = entrySize(cpu);
    const before = this.memory.readEntry(at, bytes);
    const bit = [Bit.a, Bit.d, Bit.w, Bit.p, Bit.u, Bit.a | Bit.d, Bit.ps, Bit.nx][c % 8] ?? Bit.a;
    const value = BigInt.asUintN(bytes * 8, before ^ bit);
    const store = this.#storeAt(cpu, at, bytes, value);
    if (c % 3 === 0) return this.#ask(vcpu, { ...store, kind: "exchange", expected: before });
    if (c % 3 === 1) return this.#ask(vcpu, { ...store, size: 1, value: value & 0xffn });
    return this.#ask(vcpu, store);
  }

  /** Two zeros in a row into one table, and perhaps more. */
  #clearTable(vcpu: number, a: number, b: number, c: number): string | undefined {
    const cpu = this.#flat(vcpu);
    const at = this.#entryPlace(cpu, a, b);
    const bytes = entrySize(cpu);
    for (let index = 0; index < 2 + (c % 3); index++) {
      const place = at + index * bytes;
      if (Math.floor(place / 4096) !== Math.floor(at / 4096)) return undefined;
      const complaint = this.#ask(vcpu, this.#storeAt(cpu, place, c % 2 === 0 ? bytes : 4, 0n));
      if (complaint !== undefined) return complaint;
    }
    return undefined;
  }

  #storeAt(cpu: FlatCpu, at: number, size: number, value: bigint): Wish {
    const base = cpu.levels === 0 ? 0n : directBase(cpu.levels);
    return { kind: "store", address: base + BigInt(at), size, value, expected: 0n };
  }

  #loadRoot(vcpu: number, a: number, b: number): string | undefined {
    const flat = this.#flat(vcpu);
    const tree = this.#trees[a % 2];
    const gfn = a % 5 === 0 ? b % PAGES : (tree?.root ?? 0);
    return this.#loadRootAt(
      vcpu,
      gfn,
      a % 7 === 0 && flat.levels === 3 ? ([0, 1, 63, 127][b % 4] ?? 0) * 32 : 0,
    );
  }

  #loadRootAt(vcpu: number, gfn: number, offset: number): undefined {
    const flat = this.#flat(vcpu);
    if (!this.memory.has(gfn)) return;
    const value = (BigInt(gfn) << 12n) | BigInt(offset);
    flat.cr3 = value;
    this.#cpu(vcpu).cr3(value);
    this.flat.loadRoot(flat);
  }

  #invalidate(vcpu: number, a: number, b: number): string | undefined {
    return this.#invalidateAt(vcpu, this.#addressOf(a, b));
  }

  #invalidateAt(vcpu: number, wanted: bigint): undefined {
    const flat = this.#flat(vcpu);
    const address = flat.levels === 4 ? wanted : BigInt.asUintN(32, wanted);
    this.#cpu(vcpu).invlpg(address);
    this.flat.invalidate(flat, address);
  }

  #setPrivilege(vcpu: number, a: number, b: number): string | undefined {
    const flat = this.#flat(vcpu);
    flat.cpl = a % 3 === 0 ? 3 : 0;
    flat.alignmentCheck = b % 3 !== 0;
    flat.implicit = flat.cpl === 3 && a % 9 === 0;
    this.#cpu(vcpu).vcpu.setPrivilege(flat.cpl, flat.alignmentCheck, flat.implicit);
    return undefined;
  }

  #setRegisters(vcpu: number, a: number, b: number): string | undefined {
    const flat = this.#flat(vcpu);
    switch (a % 10) {
      case 0:
      case 1:
        flat.cr0 ^= Cr0.wp;
        this.#cpu(vcpu).cr0(flat.cr0);
        return undefined;
      case 2:
        return this.#togglePaging(vcpu);
      case 3:
        // The meaning of PS is one for all vCPUs: two that differ share shadows, as Xen's own do (spec 10.3).
        for (let id = 0; id < this.plan.vcpus; id++) this.#writeCr4(id, this.#flat(id).cr4 ^ Cr4.pse);
        return undefined;
      case 4:
        if (b % 4 !== 0) return undefined;
        flat.efer ^= Efer.nxe;
        this.#cpu(vcpu).efer(flat.efer);
        this.#noteNxe(flat);
        return undefined;
      case 5:
        return this.plan.mixed ? this.#changeFormat(vcpu, b) : this.#writeCr4(vcpu, flat.cr4 ^ Cr4.pge);
      default:
        return this.#writeCr4(vcpu, flat.cr4 ^ ([Cr4.smep, Cr4.smap, Cr4.pge][b % 3] ?? 0));
    }
  }

  #writeCr4(vcpu: number, value: number): undefined {
    const flat = this.#flat(vcpu);
    const changed = flat.cr4 ^ value;
    if (flat.levels !== 0 && !this.memory.has(Number(flat.cr3 >> 12n))) return;
    flat.cr4 = value;
    this.#cpu(vcpu).cr4(value);
    if ((changed & (Cr4.pse | Cr4.pge | Cr4.pae | Cr4.smep)) !== 0) this.flat.loadRoot(flat);
  }

  #togglePaging(vcpu: number): undefined {
    const flat = this.#flat(vcpu);
    if (flat.levels === 0 && !this.memory.has(Number(flat.cr3 >> 12n))) return;
    flat.cr0 ^= Cr0.pg;
    this.#cpu(vcpu).cr0(flat.cr0);
    this.flat.loadRoot(flat);
  }

  /** Off, over to another format, and on again with whatever CR3 names. */
  #changeFormat(vcpu: number, b: number): undefined {
    const flat = this.#flat(vcpu);
    if (flat.levels !== 0) this.#togglePaging(vcpu);
    const levels = 2 + (b % 3);
    this.#writeCr4(vcpu, levels === 2 ? flat.cr4 & ~Cr4.pae : flat.cr4 | Cr4.pae);
    flat.efer = (flat.efer & ~Efer.lme) | (levels === 4 ? Efer.lme : 0);
    this.#cpu(vcpu).efer(flat.efer);
    this.#noteNxe(flat);
    this.#togglePaging(vcpu);
  }

  #noteNxe(flat: FlatCpu): void {
    if ((flat.efer & Efer.nxe) !== 0) this.flat.hadNxe = true;
  }

  #changeP2m(
    a: number,
    b: number,
    gfn = a % 4 === 0 ? b % PAGES : DATA_FROM + (b % (PAGES - DATA_FROM)),
  ): string | undefined {
    const { toolstack } = this.machine;
    if (!this.memory.has(gfn)) {
      if (!toolstack.addPage(gfn)) return "no page could be added";
      this.memory.words.fill(POISON, gfn * 1024, gfn * 1024 + 1024);
      this.memory.present[gfn] = true;
      return undefined;
    }
    const isRoot =
      this.flat.isLoadedRoot(gfn) || this.flat.cpus.some((cpu) => cpu.levels !== 0 && cpu.root === gfn);
    if (isRoot) return undefined;
    if (a % 3 === 0) {
      toolstack.removePage(gfn);
      this.memory.present[gfn] = false;
      this.memory.words.fill(0, gfn * 1024, gfn * 1024 + 1024);
    } else if (!toolstack.movePage(gfn)) return "no page could be moved";
    this.flat.forgetPage(gfn);
    return undefined;
  }

  #deviceWrite(a: number, b: number, c: number, d: number): string | undefined {
    const at = this.#entryPlace(this.#flat(0), a, b);
    const value = c % 4 === 0 ? 0n : entryOf(this.#target(d), FLAGS[c % FLAGS.length] ?? 0n);
    this.#writeByDevice(at & ~3, Number(BigInt.asIntN(32, value)));
    return undefined;
  }

  /** Devices put back what the tables held at first, so that the guest does not end up with nothing but faults. */
  #repair(): undefined {
    for (let gfn = TABLES_FROM; gfn < DATA_FROM; gfn++) {
      if (!this.memory.has(gfn)) this.#changeP2m(1, 0, gfn);
      for (let word = gfn * 1024; word < gfn * 1024 + 1024; word++) {
        const due = this.#initial[word] ?? 0;
        if (this.memory.words[word] !== due) this.#writeByDevice(word * 4, due);
      }
    }
  }

  #writeByDevice(at: number, value: number): undefined {
    this.machine.toolstack.deviceWrite(at, value);
    if (this.memory.has(Math.floor(at / 4096))) this.memory.words[at >>> 2] = value;
  }

  /** A page is used, its table stops being one, perhaps, the entry changes, the guest flushes and uses it again. */
  #remap(vcpu: number, b: number, c: number, d: number): string | undefined {
    const cpu = this.#flat(vcpu);
    const address = this.#addressOf(c % 4 === 0 ? 5 : 0, b);
    const tree = this.#trees[cpu.root === this.#trees[0]?.root ? 0 : 1] ?? this.machine.tables;
    const leaf = this.#initialPlace(tree, address, 1);
    const load: Wish = { kind: "load", address, size: 1, value: 0n, expected: 0n };
    const device = { ...load, address: this.#storeAt(cpu, PAGES * 4096, 1, 0n).address };
    const store = (at: number, size: number, value: bigint): string | undefined =>
      this.#ask(vcpu, this.#storeAt(cpu, at, size, value));
    const last = leaf - (leaf % 4096) + 4080;
    return (
      this.#ask(vcpu, load) ??
      [
        (): string | undefined => store(last, 8, 0n) ?? store(last, 8, 0n),
        (): string | undefined => store(last + 1, 4, 0n),
        (): undefined => this.#writeByDevice(last, 0),
        (): undefined => this.#loadRootAt((vcpu + 1) % this.plan.vcpus, tree.root, 0),
        (): string | undefined => this.#changeP2m(d, c),
        (): string | undefined => this.#ask(vcpu, device) ?? this.#changeP2m(0, 0, PAGES - 1),
      ][d % 6]?.() ??
      store(leaf, entrySize(cpu), entryOf(this.#target(d >>> 3), USER_PAGE)) ??
      this.#invalidateAt(vcpu, address) ??
      this.#ask(vcpu, load)
    );
  }

  /** A page is used, unmapped without a flush, and becomes something else: a table, a root, or nobody's. */
  #reusePage(vcpu: number, b: number, c: number, d: number): string | undefined {
    const cpu = this.#flat(vcpu);
    const address = this.#addressOf(0, b);
    const store: Wish = { kind: "store", address, size: 4, value: USER_PAGE, expected: 0n };
    const complaint = this.#ask(vcpu, store);
    const gfn = this.flat.peek(cpu, address);
    if (complaint !== undefined || gfn < 0) return complaint;
    const other = (vcpu + 1) % this.plan.vcpus;
    const tree = this.#trees[c % 2] ?? this.machine.tables;
    const leaf = this.#initialPlace(tree, address, 1);
    const unmapped = this.#ask(other, this.#storeAt(this.#flat(other), leaf, 4, 0n));
    if (unmapped !== undefined) return unmapped;
    if (d % 3 === 0) return this.#changeP2m(d, gfn, gfn);
    if (d % 3 === 1) return this.#loadRootAt(other, gfn, 0);
    const above = 0x20_0000n << BigInt(c % 3);
    const at = this.#initialPlace(tree, above, 2);
    const linked = this.#storeAt(
      this.#flat(other),
      at,
      entrySize(this.#flat(other)),
      entryOf(gfn, USER_PAGE),
    );
    return this.#ask(other, linked) ?? this.#ask(other, { ...store, kind: "load", address: above });
  }

  #resizePool(a: number): undefined {
    if (!this.plan.tinyPool) this.machine.toolstack.setAllocation(a % 2 === 0 ? 0 : 256);
  }

  /** A pool that holds little more than what the vCPUs run on. Its proper minimum would hold every shadow there is. */
  #shrinkPool(): void {
    const pages = 12 * this.plan.vcpus + 8;
    this.machine.locked(({ pool }) => {
      pool.minimum = (): number => 1;
      pool.setAllocation(pages);
    });
  }

  /** Fills a tree: small pages, a second table, tables mapped as pages, and the tree itself as its own linear map. */
  #furnish(tree: GuestTables): void {
    const { levels } = this.plan;
    for (const [index, page] of SMALL_PAGES.entries())
      tree.map(
        BigInt(page) << 12n,
        DATA_FROM + index,
        index % 3 === 0 ? USER_PAGE : (FLAGS[index] ?? USER_PAGE),
      );
    tree.map(0x4000_0000n, DATA_FROM + 1, USER_PAGE);
    tree.map(0x4000_1000n, tree.tableAt(0n, 1), USER_PAGE);
    tree.mapLarge(0x80_0000n, 0, USER_PAGE);
    tree.mapLarge(0xc0_0000n, 0, KERNEL_PAGE & ~Bit.d);
    const self = SELF_MAPS[levels];
    if (levels !== 3) {
      tree.link(self, levels, tree.root);
      return;
    }
    // More roots in the page of the first, as small kernels keep them: each with the level 2 tables in another order.
    for (const at of [32, 0x7e0, 0xfe0])
      for (let slot = 0; slot < 4; slot++)
        tree.write(
          tree.root * 4096 + at + slot * 8,
          tree.read(tree.root * 4096 + ((slot + at / 32) % 4) * 8),
        );
    for (let slot = 0; slot < 4; slot++)
      tree.link(self + (BigInt(slot) << 21n), 2, tree.tableAt(BigInt(slot) << 30n, 2));
  }

  /** The 1–1 map in small pages, of which those that hold no tables are clean. */
  #mapSmall(): void {
    const { levels } = this.plan;
    const table = this.machine.takePage();
    for (let gfn = 0; gfn < PAGES; gfn++) {
      const flags = gfn < DATA_FROM ? KERNEL_PAGE : KERNEL_PAGE & ~Bit.d;
      const tree = this.machine.tables;
      tree.write(table * 4096 + gfn * entryBytes(levels), entryOf(gfn, flags));
    }
    for (const tree of this.#trees) tree.link(directBase(levels), 2, table);
  }

  #boot(vcpu: number): void {
    const flat = this.#flat(vcpu);
    const { levels } = this.plan;
    flat.cr4 = Cr4.pge | (levels === 2 ? Cr4.pse : Cr4.pae | Cr4.pse);
    flat.efer = (levels === 4 ? Efer.lme : 0) | (levels === 2 ? 0 : Efer.nxe);
    flat.cr3 = this.machine.tables.cr3;
    flat.cr0 = Cr0.pg | Cr0.wp | Cr0.pe;
    this.#noteNxe(flat);
    const cpu = this.#cpu(vcpu);
    cpu.cr4(flat.cr4);
    cpu.efer(flat.efer);
    cpu.cr3(flat.cr3);
    cpu.cr0(flat.cr0);
    this.flat.loadRoot(flat);
  }

  /** Some address that means something: of a small page, of the 1–1 map, of the large pages, of the linear map. */
  #addressOf(a: number, b: number): bigint {
    const { levels } = this.plan;
    const offsets = [0, 4, 8, 0x10, 0x7f8, 0x800, 0xff0, 0xff8, 0xffc, 0xffd, 0xffe, 0xfff, 1, 2, 6, 0x123];
    const offset = BigInt(offsets[b % offsets.length] ?? 0);
    const page = BigInt(SMALL_PAGES[b % SMALL_PAGES.length] ?? 0) << 12n;
    const frame = BigInt(b % (PAGES + 2)) << 12n;
    switch (a % 10) {
      case 0:
      case 1:
      case 2:
      case 3:
        return page + offset;
      case 4:
        return 0x4000_0000n + (BigInt(b % 3) << 12n) + offset;
      case 5:
        return 0x80_0000n + frame + offset;
      case 6:
        return 0xc0_0000n + frame + offset;
      case 7:
        return directBase(levels) + frame + offset;
      case 8:
        return SELF_MAPS[levels] + (page >> (levels === 2 ? 10n : 9n)) + offset;
      default:
        return [0xffff_fffen, 0xffff_ffff_ffff_fffen, 0x7fff_ffff_fffen, 0x9000_0000_0000n][b % 4] ?? 0n;
    }
  }

  /** The page that the vCPU used last, half the time: what a TLB holds matters only when it is used again. */
  #nearAddress(vcpu: number, a: number, b: number): bigint {
    const address = this.#addressOf(a >>> 1, b);
    if (a % 2 === 0) return (this.#lastPages[vcpu] ?? 0n) + (address & 0xfffn);
    this.#lastPages[vcpu] = address & ~0xfffn;
    return address;
  }

  /** Guest physical address of an entry that some address goes through, or of any other entry. */
  #entryPlace(cpu: FlatCpu, a: number, b: number): number {
    const levels = this.plan.levels;
    const bytes = entrySize(cpu);
    const tree = this.#trees[a & 1] ?? this.machine.tables;
    if (a % 4 === 3) return (b % PAGES) * 4096 + ((b >>> 3) % (4096 / bytes)) * bytes;
    const address = this.#addressOf(a >>> 2, b);
    const level = (b >>> 7) % 3 === 0 ? 1 + ((b >>> 5) % levels) : 1;
    return this.#initialPlace(tree, address, level) & -bytes;
  }

  /** Guest physical address of the entry of a level that an address went through when all was new. */
  #initialPlace(tree: GuestTables, address: bigint, level: number): number {
    const { levels } = this.plan;
    const table = this.#tableOnTheWay(tree, address, level);
    return table * 4096 + slotOf(levels, level, address) * entryBytes(levels);
  }

  /** The table of a level that an address went through when all was new. */
  #tableOnTheWay(tree: GuestTables, address: bigint, level: number): number {
    const { levels } = this.plan;
    let table = tree.root;
    for (let above: number = levels; above > level; above--) {
      const at = table * 4096 + slotOf(levels, above, address) * entryBytes(levels);
      const entry = this.#initial[at >>> 2] ?? 0;
      if ((entry & 0x81) !== 1) return table;
      table = entry >>> 12;
    }
    return table;
  }

  #target(d: number): number {
    switch (d % 6) {
      case 0:
        return 0;
      case 1:
        return TABLES_FROM + ((d >>> 3) % (DATA_FROM - TABLES_FROM));
      case 2:
        return (d >>> 3) % (PAGES + 4);
      case 3:
        return d % 16 === 3 ? 0xf_ffff : 1024;
      default:
        return DATA_FROM + ((d >>> 3) % (PAGES - DATA_FROM));
    }
  }

  #cpu(vcpu: number): TestCpu {
    return this.machine.cpuAt(vcpu);
  }

  #flat(vcpu: number): FlatCpu {
    const cpu = this.flat.cpus[vcpu];
    if (cpu === undefined) throw new Error(`there is no vCPU ${String(vcpu)}`);
    return cpu;
  }
}

function run(cpu: TestCpu, { kind, address, size, value, expected }: Wish): Access {
  if (kind === "load") return cpu.load(address, size);
  if (kind === "store") return cpu.store(address, value, size);
  return kind === "fetch" ? cpu.fetch(address, size) : cpu.exchange(address, expected, value, size);
}

/** Runs a whole guest; the first thing that is wrong, in words, with the number of the step after which it was. */
export function runGuest(plan: Plan, steps: readonly Step[]): string | undefined {
  const guest = new RandomGuest(plan);
  for (const [index, step] of steps.entries()) {
    let complaint: string | undefined;
    try {
      complaint = guest.step(step);
    } catch (error) {
      complaint = error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    if (complaint !== undefined) return `step ${String(index)} ${JSON.stringify(step)}: ${complaint}`;
  }
  return guest.finish();
}
