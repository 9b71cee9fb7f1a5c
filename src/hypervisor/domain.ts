/** The domain: its state in shared memory, as one thread sees it. */
import { CrashReason, DomainCell, crashText } from "../memory/domain-area.ts";
import type { Layout } from "../memory/layout.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";

/** Access to the domain's cells. Offsets are those of `DomainCell`. */
export class Domain {
  readonly #memory: SharedMemory;
  readonly #base: number;
  readonly #dead: number;

  constructor(memory: SharedMemory, layout: Layout) {
    this.#memory = memory;
    this.#base = layout.regions.domain.offset;
    this.#dead = this.#base + DomainCell.dead;
  }

  /** A cell that the paging lock guards. */
  read(offset: number): number {
    return this.#memory.loadGuarded(this.#base + offset);
  }

  /** Sets a cell that the paging lock guards. */
  write(offset: number, value: number): void {
    this.#memory.storeGuarded(this.#base + offset, value);
  }

  /** Adds to a cell that the paging lock guards. */
  increase(offset: number, delta: number): void {
    this.write(offset, this.read(offset) + delta);
  }

  /**
   * Marks the domain as crashed. The caller goes on: a crash is asynchronous, and later steps must tolerate it
   * (spec 20.66). The first reason is kept.
   */
  crash(reason: number, frame: number): void {
    const cell = this.#base + DomainCell.crashed;
    if (this.#memory.compareExchangeWord(cell, CrashReason.none, reason) === CrashReason.none)
      this.#memory.storeWord(this.#base + DomainCell.crashFrame, frame);
    this.#memory.storeWord(this.#dead, 1);
  }

  /** Whether the domain has crashed. */
  isCrashed(): boolean {
    return this.#memory.loadWord(this.#base + DomainCell.crashed) !== CrashReason.none;
  }

  /** Whether the domain has crashed or is being destroyed. */
  isDead(): boolean {
    return this.#memory.loadWord(this.#dead) !== 0;
  }

  /** Whether MMIO magic entries have been made since the p2m changed last (spec 12.3). */
  hasFastMmioEntries(): boolean {
    return this.#memory.loadWord(this.#base + DomainCell.hasFastMmioEntries) !== 0;
  }

  /** One is about to be made. Looks first: the line is everybody's. */
  noteFastMmioEntry(): void {
    if (!this.hasFastMmioEntries()) this.#memory.storeWord(this.#base + DomainCell.hasFastMmioEntries, 1);
  }

  /** All have gone. */
  forgetFastMmioEntries(): void {
    this.#memory.storeWord(this.#base + DomainCell.hasFastMmioEntries, 0);
  }

  /** How often guest tables may have changed under a walk without the lock. */
  tableVersion(): number {
    return this.#memory.loadWord(this.#base + DomainCell.tableVersion);
  }

  /** Guest tables have changed; a walk without the lock that began before must look again. */
  raiseTableVersion(): void {
    this.#memory.addWord(this.#base + DomainCell.tableVersion, 1);
  }

  /** From now on every exit of a vCPU ends it. */
  beginDestroy(): void {
    this.#memory.storeWord(this.#base + DomainCell.dying, 1);
    this.#memory.storeWord(this.#dead, 1);
  }

  /** Why the domain crashed, in words; "" when it did not. */
  crashMessage(): string {
    const reason = this.#memory.loadWord(this.#base + DomainCell.crashed);
    if (reason === CrashReason.none) return "";
    const frame = this.#memory.loadWord(this.#base + DomainCell.crashFrame);
    return `the domain crashed: ${crashText(reason)} (mfn 0x${frame.toString(16)})`;
  }
}
