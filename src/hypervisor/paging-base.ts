/** What every assistance mode is built on: the machine and its domain, as one thread sees them. */
import type { RecursiveLock } from "../locks/lock.ts";
import type { Vcpu } from "../machine/vcpu.ts";
import type { FrameTable } from "../memory/frame-table.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { Device } from "./device.ts";
import type { Domain } from "./domain.ts";
import type { Heap } from "./heap.ts";
import type { MachineConfig } from "./machine-config.ts";
import type { P2m } from "./p2m.ts";
import type { WantedPage } from "./absent-pages.ts";

/** The parts that are no mode's own. */
export interface PagingBase {
  readonly vcpu: Vcpu;
  readonly memory: SharedMemory;
  readonly layout: Layout;
  readonly config: MachineConfig;
  readonly frames: FrameTable;
  readonly domain: Domain;
  readonly heap: Heap;
  readonly p2m: P2m;
  /** The paging lock. Only the mode takes it, domctl, and whoever takes the domain apart. */
  readonly lock: RecursiveLock;
  readonly device: Device;
  /** Taken before the paging lock by whoever changes the p2m. */
  readonly p2mLock: RecursiveLock;
  /** The page that this vCPU needs and that is not there. */
  readonly wanted: WantedPage;
}
