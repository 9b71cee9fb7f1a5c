/**
 * Shadow mode as one vCPU's thread sees it: the shared state, and the parts of the design, each in a file named as on
 * the talk's slides. Parts reach each other through this hub, so that a part can be replaced by a variant of itself
 * (an experiment, or a known bug that a check must find) without touching the others.
 */
import type { CounterSet } from "../../machine/counter-set.ts";
import type { Vcpu } from "../../machine/vcpu.ts";
import type { RecursiveLock } from "../../locks/lock.ts";
import type { FrameTable } from "../../memory/frame-table.ts";
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { NO_MFN, mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import type { WantedPage } from "../absent-pages.ts";
import type { Device } from "../device.ts";
import type { Domain } from "../domain.ts";
import type { Heap } from "../heap.ts";
import type { MachineConfig, Switches } from "../machine-config.ts";
import type { P2m } from "../p2m.ts";
import type { PagingBase } from "../paging-base.ts";
import { LogDirty } from "../log-dirty.ts";
import { SplitAccess } from "../split-access.ts";
import { ShadowChain } from "./chain.ts";
import { Emulation } from "./emulate.ts";
import { EmulateAhead } from "./emulate-ahead.ts";
import { InstructionEmulation } from "./emulate-instruction.ts";
import { FastEmulate } from "./fast-emulate.ts";
import { FastPath } from "./fast-path.ts";
import { FaultHandler } from "./fault.ts";
import { GuestState } from "../guest-state.ts";
import { LockFreeWalk } from "./lock-free-walk.ts";
import { ShadowHash } from "./hash.ts";
import { Destruction } from "./make-destroy.ts";
import { OutOfSync } from "./out-of-sync.ts";
import { P2mPages } from "./p2m-pages.ts";
import { PageReferences } from "./page-references.ts";
import { PerPageLocks } from "./per-page-locks.ts";
import type { PageLocks } from "./per-page-locks.ts";
import { PagetableDying } from "./pagetable-dying.ts";
import { PagingModes } from "./paging-modes.ts";
import { Pool } from "./pool.ts";
import { Prefetch } from "./prefetch.ts";
import { Propagation } from "./propagate.ts";
import { Protection } from "./protect.ts";
import { References } from "./refcount.ts";
import { Revocation } from "./revoke.ts";
import { Roots } from "./roots.ts";
import { EntrySetter } from "./set-entry.ts";
import { SkipVerify } from "./skip-verify.ts";
import { SplitStores } from "./split-stores.ts";
import { ShadowTables } from "./shadow-tables.ts";
import { TranslationCache } from "./translation-cache.ts";
import { Unshadow } from "./unshadow.ts";
import { Validation } from "./validate.ts";
import { VramTracking } from "./vram-tracking.ts";

const FRAME_BITS = 0x0fff_ffff;

/** The hub. */
export class Shadow implements PagingBase {
  readonly vcpu: Vcpu;
  readonly memory: SharedMemory;
  readonly layout: Layout;
  readonly config: MachineConfig;
  readonly switches: Switches;
  readonly frames: FrameTable;
  readonly domain: Domain;
  readonly heap: Heap;
  readonly p2m: P2m;
  /** The shadow lock, private to this room. */
  readonly lock: RecursiveLock;
  readonly device: Device;
  readonly p2mLock: RecursiveLock;
  readonly wanted: WantedPage;
  readonly counters: CounterSet;
  /** False for the toolstack's thread, which has no tree of its own to guess in. */
  readonly isGuestVcpu: boolean;
  /** Whether the emulator translates before it takes any lock: what it holds then depends on where the store goes. */
  readonly emulatesUnlocked: boolean;

  readonly guest: GuestState;
  readonly perPage: PerPageLocks;
  readonly tables: ShadowTables;
  readonly hash: ShadowHash;
  readonly pool: Pool;
  readonly logDirty: LogDirty;
  readonly protection: Protection;
  readonly vram: VramTracking;
  readonly references: References;
  readonly pages: PageReferences;
  readonly entries: EntrySetter;
  readonly propagation: Propagation;
  readonly destruction: Destruction;
  readonly chain: ShadowChain;
  readonly revocation: Revocation;
  readonly unshadow: Unshadow;
  readonly validation: Validation;
  readonly emulation: Emulation;
  readonly instructions: InstructionEmulation;
  readonly split: SplitAccess;
  readonly prefetch: Prefetch;
  readonly fastPath: FastPath;
  readonly freeWalk: LockFreeWalk;
  readonly fastEmulate: FastEmulate;
  readonly ahead: EmulateAhead;
  readonly skipVerify: SkipVerify;
  readonly dying: PagetableDying;
  readonly translations: TranslationCache;
  readonly fault: FaultHandler;
  readonly outOfSync: OutOfSync;
  readonly roots: Roots;
  readonly modes: PagingModes;

  constructor(base: PagingBase, pageLocks: PageLocks) {
    this.vcpu = base.vcpu;
    this.memory = base.memory;
    this.layout = base.layout;
    this.config = base.config;
    this.switches = base.config.switches;
    this.frames = base.frames;
    this.domain = base.domain;
    this.heap = base.heap;
    this.p2m = base.p2m;
    this.lock = base.lock;
    this.device = base.device;
    this.p2mLock = base.p2mLock;
    this.wanted = base.wanted;
    this.counters = base.vcpu.counters;
    this.isGuestVcpu = base.vcpu.id < base.config.vcpus;
    this.perPage = new PerPageLocks(this, pageLocks);
    this.emulatesUnlocked = this.perPage.isOn || base.config.switches["unlocked-emulation"];
    this.guest = new GuestState(base.memory, base.vcpu.area, base.p2m, base.config.paging);
    this.tables = new ShadowTables(this);
    this.hash = new ShadowHash(this);
    this.pool = new Pool(this);
    this.logDirty = new LogDirty(this, new P2mPages(this));
    this.protection = new Protection(this);
    this.vram = new VramTracking(this);
    this.references = new References(this);
    this.pages = new PageReferences(this);
    this.entries = new EntrySetter(this);
    this.propagation = new Propagation(this);
    this.destruction = new Destruction(this);
    this.chain = new ShadowChain(this);
    this.revocation = new Revocation(this);
    this.unshadow = new Unshadow(this);
    this.validation = new Validation(this);
    this.emulation = new Emulation(this);
    this.instructions = new InstructionEmulation(this);
    this.split = new SplitAccess(this, new SplitStores(this));
    this.prefetch = new Prefetch(this);
    this.fastPath = new FastPath(this);
    this.freeWalk = new LockFreeWalk(this);
    this.fastEmulate = new FastEmulate(this);
    this.ahead = new EmulateAhead(this);
    this.dying = new PagetableDying(this);
    this.skipVerify = new SkipVerify(this);
    this.translations = new TranslationCache(this);
    this.fault = new FaultHandler(this);
    this.outOfSync = new OutOfSync(this);
    this.roots = new Roots(this);
    this.modes = new PagingModes(this);
  }

  /** Flushes every CPU that may hold this domain's translations, and waits. */
  flushAll(): void {
    this.vcpu.mailbox.flushAll();
  }

  /** The frame number in a shadow entry. */
  frameIn(low: number, high: number): Mfn {
    return mfn(((low >>> 12) | (high << 20)) & FRAME_BITS);
  }

  /** A walked table's frame; NO_MFN for what was not visited or is not memory. */
  frameOrNone(frame: number): Mfn {
    return frame <= 0 ? NO_MFN : mfn(frame);
  }
}
