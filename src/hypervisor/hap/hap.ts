/**
 * Hardware-assisted paging as one vCPU's thread sees it: the shared state and the mode's parts, one file each. The guest's
 * tables are the guest's own; what is kept here is the p2m in the form that hardware walks (docs/hap.md).
 */
import type { RecursiveLock } from "../../locks/lock.ts";
import type { CounterSet } from "../../machine/counter-set.ts";
import type { Vcpu } from "../../machine/vcpu.ts";
import type { FrameTable } from "../../memory/frame-table.ts";
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import type { WantedPage } from "../absent-pages.ts";
import type { Device } from "../device.ts";
import type { Domain } from "../domain.ts";
import { GuestPages } from "../guest-pages.ts";
import { GuestState } from "../guest-state.ts";
import type { Heap } from "../heap.ts";
import { LogDirty } from "../log-dirty.ts";
import type { MachineConfig } from "../machine-config.ts";
import type { P2m } from "../p2m.ts";
import type { PagingBase } from "../paging-base.ts";
import { HapPool } from "./hap-pool.ts";
import { HapModes } from "./hap-modes.ts";
import { NestedFaultHandler } from "./nested-fault.ts";
import { P2mTables } from "./p2m-tables.ts";

/** The hub, as `Shadow` is that of shadow mode. */
export class Hap implements PagingBase {
  readonly vcpu: Vcpu;
  readonly memory: SharedMemory;
  readonly layout: Layout;
  readonly config: MachineConfig;
  readonly frames: FrameTable;
  readonly domain: Domain;
  readonly heap: Heap;
  readonly p2m: P2m;
  /** The paging lock: since 2011 Xen has one for both modes (spec 14.3). */
  readonly lock: RecursiveLock;
  readonly device: Device;
  readonly p2mLock: RecursiveLock;
  readonly wanted: WantedPage;
  readonly counters: CounterSet;

  readonly logDirty: LogDirty;
  readonly guest: GuestState;
  readonly pages: GuestPages;
  readonly pool: HapPool;
  readonly tables: P2mTables;
  readonly modes: HapModes;
  readonly fault: NestedFaultHandler;

  constructor(base: PagingBase) {
    this.vcpu = base.vcpu;
    this.memory = base.memory;
    this.layout = base.layout;
    this.config = base.config;
    this.frames = base.frames;
    this.domain = base.domain;
    this.heap = base.heap;
    this.p2m = base.p2m;
    this.lock = base.lock;
    this.device = base.device;
    this.p2mLock = base.p2mLock;
    this.wanted = base.wanted;
    this.counters = base.vcpu.counters;
    this.guest = new GuestState(base.memory, base.vcpu.area, base.p2m, base.config.paging);
    this.pages = new GuestPages(base);
    this.pool = new HapPool(this);
    this.logDirty = new LogDirty(this, this.pool);
    this.tables = new P2mTables(this);
    this.modes = new HapModes(this);
    this.fault = new NestedFaultHandler(this);
  }
}
