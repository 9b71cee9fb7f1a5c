/**
 * What a lock is below its name, its holder and its statistics: it lets one vCPU in at a time. Each kind is a file of its
 * own. A `Gate` is one vCPU's view of one; a machine has gates of one kind only, so that calls of them have one target.
 */
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import { FutexGate } from "./futex.ts";
import type { LockOwner } from "./lock-owner.ts";
import { McsGate } from "./mcs.ts";
import { TestAndSetGate } from "./test-and-set.ts";
import { TicketGate } from "./ticket.ts";

/** How a lock decides who is next, and how the others wait: see the file of each. */
export type LockKind = "test-and-set" | "ticket" | "mcs" | "futex";

/** One vCPU's view of what lets in one at a time. Not recursive, not checked: `RecursiveLock` is both. */
export interface Gate {
  /** The vCPU arrives, outside. Whether it is in at once; if not, `waitForTurn` follows. */
  arrive(): boolean;
  /** Returns once the vCPU, which has arrived, is in. */
  waitForTurn(): void;
  /** The vCPU, which is in, leaves. */
  passOn(): void;
  /** Whether anybody is in, or was a moment ago. */
  isTaken(): boolean;
}

/** What a gate is made from. */
export interface GateParts {
  readonly memory: SharedMemory;
  readonly layout: Layout;
  readonly owner: LockOwner;
  /** Position of its lock in `LOCK_NAMES`. */
  readonly lock: number;
}

/** A vCPU's view of a lock's gate. */
export function gateOf(kind: LockKind, parts: GateParts): Gate {
  if (kind === "test-and-set") return new TestAndSetGate(parts);
  if (kind === "ticket") return new TicketGate(parts);
  return kind === "mcs" ? new McsGate(parts) : new FutexGate(parts);
}
