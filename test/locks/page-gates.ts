/** Locks of pages and parts of a lock as gates, right and wrong, for the explorer. */
import type { Gate, GateParts } from "../../src/locks/gate.ts";
import { HeldLocks } from "../../src/locks/held-locks.ts";
import { LockCell, lockArea } from "../../src/locks/lock-area.ts";
import { LockSite } from "../../src/locks/lock-class.ts";
import { RecursiveLock } from "../../src/locks/lock.ts";
import { PageLock, pageLockCell } from "../../src/locks/page-lock.ts";
import { Parts, partCell } from "../../src/locks/parts.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import type { Layout } from "../../src/memory/layout.ts";
import type { SharedMemory } from "../../src/memory/shared-memory.ts";

const FRAME = 0;
const SITE = LockSite.test;

/** The table lock of a page; `isHasty` finds it free and takes it then. */
export class LockOfPage implements Gate {
  readonly #lock: PageLock;
  readonly #memory: SharedMemory;
  readonly #word: number;
  readonly #isHasty: boolean;
  readonly #me: number;

  constructor({ memory, layout, owner }: GateParts, isHasty: boolean) {
    this.#lock = new PageLock(memory, layout, "table", owner, new HeldLocks(owner));
    this.#memory = memory;
    this.#word = pageLockCell(layout, "table", FRAME);
    this.#isHasty = isHasty;
    this.#me = owner.id + 1;
  }

  arrive(): boolean {
    if (this.#isHasty && this.#memory.loadWord(this.#word) === 0)
      this.#memory.storeWord(this.#word, this.#me);
    else this.#lock.acquire(FRAME, SITE);
    return true;
  }

  waitForTurn(): void {}

  passOn(): void {
    if (this.#isHasty) this.#memory.storeWord(this.#word, 0);
    else this.#lock.release();
  }

  isTaken(): boolean {
    return this.#memory.loadWord(this.#word) !== 0;
  }
}

/** Looks whether somebody wants the whole before it says that it wants a part. */
class HastyPart extends Parts {
  readonly #shared: SharedMemory;
  readonly #mine: number;
  readonly #whole: number;
  readonly #me: number;

  constructor({ memory, layout, owner }: GateParts, held: HeldLocks) {
    super(memory, layout, owner, held);
    this.#shared = memory;
    this.#mine = partCell(layout, owner.id);
    this.#whole = wholeCell(layout);
    this.#me = owner.id + 1;
  }

  override begin(site: number): void {
    if (this.#shared.loadWord(this.#whole) === 0) this.#shared.storeWord(this.#mine, this.#me);
    else super.begin(site);
  }
}

/** Looks whether somebody has a part before it says that it wants the whole. */
class HastyWhole extends Parts {
  readonly #shared: SharedMemory;
  readonly #layout: Layout;

  constructor({ memory, layout, owner }: GateParts, held: HeldLocks) {
    super(memory, layout, owner, held);
    this.#shared = memory;
    this.#layout = layout;
  }

  override exclude(): boolean {
    let isEmpty = true;
    for (let vcpu = 0; vcpu <= this.#layout.sizes.vcpus; vcpu++)
      if (this.#shared.loadWord(partCell(this.#layout, vcpu)) !== 0) isEmpty = false;
    const isNobodyIn = super.exclude();
    return isEmpty || isNobodyIn;
  }
}

function wholeCell(layout: Layout): number {
  return lockArea(layout, LOCK_NAMES.indexOf("paging in part")) + LockCell.held;
}

/** A lock that the second visitor holds in part, the others whole. */
export class Divided implements Gate {
  readonly isInPart: boolean;
  readonly #lock: RecursiveLock;
  readonly #parts: Parts;

  constructor(parts: GateParts, kind: "parts" | "hasty part" | "hasty whole") {
    const { memory, layout, owner } = parts;
    const held = new HeldLocks(owner);
    this.isInPart = owner.id === 1;
    this.#parts = partsOf(parts, held, kind);
    this.#lock = new RecursiveLock(memory, layout, "paging", "test-and-set", owner, held, this.#parts);
  }

  arrive(): boolean {
    if (this.isInPart) this.#parts.begin(SITE);
    else this.#lock.acquire(SITE);
    return true;
  }

  waitForTurn(): void {}

  passOn(): void {
    if (this.isInPart) this.#parts.end();
    else this.#lock.release();
  }

  isTaken(): boolean {
    return this.#lock.isTaken();
  }
}

function partsOf(parts: GateParts, held: HeldLocks, kind: string): Parts {
  if (kind === "hasty part") return new HastyPart(parts, held);
  if (kind === "hasty whole") return new HastyWhole(parts, held);
  return new Parts(parts.memory, parts.layout, parts.owner, held);
}
