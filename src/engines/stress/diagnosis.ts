/**
 * Who waits for whom. Read from outside, while threads may still run: each answer was true at some moment, and a cycle
 * is believed only when two looks at it, some time apart, agree and nobody in it has moved.
 */
import { isOneOfMany, lockPhrase } from "../../locks/lock-class.ts";
import { describeLock } from "../../locks/lock-statistics.ts";
import { partHolders, wholeWantedBy } from "../../locks/parts.ts";
import { LOCK_NAMES } from "../../memory/layout.ts";
import type { Layout } from "../../memory/layout.ts";
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { vcpuId } from "../../memory/units.ts";
import { Doing, VcpuCell, VcpuState, vcpuArea } from "../../memory/vcpu-area.ts";
import type { VcpuDiagnosis, Violation } from "../../report/types.ts";
import type { Heartbeats } from "./heartbeats.ts";

const WHOLE = LOCK_NAMES.indexOf("paging");
const IN_PART = LOCK_NAMES.indexOf("paging in part");

/** What one vCPU waits for. */
interface Wait {
  readonly what: string;
  /** Those who could end the wait. */
  readonly on: readonly number[];
  /** Whether nobody at all could end it. */
  readonly isForNobody?: true;
}

const STATE_NAMES = new Map<number, string>(Object.entries(VcpuState).map(([name, value]) => [value, name]));

const DOING_NAMES = new Map<number, string>([
  [Doing.guest, "guest code"],
  [Doing.pageFault, "a page fault"],
  [Doing.writeCr, "a control register write"],
  [Doing.invlpg, "INVLPG"],
  [Doing.hypercall, "a hypercall"],
  [Doing.flushWait, "waiting for a flush"],
  [Doing.lockWait, "waiting for a lock"],
  [Doing.parked, "parking"],
  [Doing.halted, "HLT"],
  [Doing.gate, "the start gate"],
  [Doing.scenarioWait, "a wait of its program"],
]);

/** Looks at the vCPUs of one machine. */
export class Diagnosis {
  readonly #memory: SharedMemory;
  readonly #layout: Layout;
  readonly #heartbeats: Heartbeats;
  readonly #programs: readonly string[];

  /** `programs` names what each vCPU runs. */
  constructor(memory: SharedMemory, layout: Layout, heartbeats: Heartbeats, programs: readonly string[]) {
    this.#memory = memory;
    this.#layout = layout;
    this.#heartbeats = heartbeats;
    this.#programs = programs;
  }

  /** What every vCPU is at. */
  everybody(): VcpuDiagnosis[] {
    return Array.from({ length: this.#layout.sizes.vcpus }, (_, id) => this.#describe(id));
  }

  /** A vCPU by number and program; the toolstack by its name. */
  name(id: number): string {
    const program = this.#programs[id] ?? "";
    return id === this.#layout.sizes.vcpus ? "the toolstack" : `vCPU ${String(id)} (${program})`;
  }

  /** What one vCPU is at, for a line. */
  brief(id: number): string {
    const { doing, address, waitsFor } = this.#describe(id);
    const wait = waitsFor === null ? "" : `, waits for ${waitsFor}`;
    return `${this.name(id)} was last seen at ${doing}, last fault at ${address}${wait}`;
  }

  /**
   * Waits that can never end, as they look now: vCPUs each of which waits for the next; a wait for a lock that nobody
   * holds; vCPUs of which all that have not ended are halted.
   */
  hopeless(): Violation[] {
    const { vcpus } = this.#layout.sizes;
    const found: Violation[] = [];
    const told = new Set<number>();
    const halted: number[] = [];
    let others = 0;
    for (let id = 0; id < vcpus; id++) {
      const wait = this.#waitOf(id);
      const state = this.#read(id, VcpuCell.state);
      if (state === VcpuState.halted && this.#read(id, VcpuCell.doorbell) === 0) halted.push(id);
      else if (state === VcpuState.running || state === VcpuState.halted) others++;
      if (wait?.isForNobody === true) {
        found.push({ check: "lost-wakeup", vcpu: id, message: `vCPU ${String(id)} waits for ${wait.what}.` });
      }
      const path = told.has(id) ? [] : this.#pathBackTo(id);
      for (const each of path) told.add(each);
      if (path.length > 0) found.push({ check: "deadlock", vcpu: id, message: this.#cycleText(path) });
    }
    if (halted.length > 0 && others === 0) {
      const who = halted.map((id) => `vCPU ${String(id)}`).join(", ");
      found.push({ check: "lost-wakeup", vcpu: -1, message: `All that has not ended is halted: ${who}.` });
    }
    return found;
  }

  /** The locks that are held, by whom and since where. */
  heldLocks(): { name: string; vcpu: number; site: string }[] {
    return LOCK_NAMES.flatMap((_, index) => {
      const { name, vcpu, site = "no known place" } = describeLock(this.#memory, this.#layout, index);
      return vcpu === undefined ? [] : [{ name, vcpu, site }];
    });
  }

  #cycleText(path: readonly number[]): string {
    return `${path.map((id) => `vCPU ${String(id)} waits for ${this.#waitOf(id)?.what ?? "nothing"}`).join("; ")}.`;
  }

  #describe(id: number): VcpuDiagnosis {
    return {
      vcpu: id,
      program: this.#programs[id] ?? "",
      state: STATE_NAMES.get(this.#read(id, VcpuCell.state)) ?? "unknown",
      doing: DOING_NAMES.get(this.#read(id, VcpuCell.doing)) ?? "unknown",
      address: hex64(this.#read(id, VcpuCell.addressLow), this.#read(id, VcpuCell.addressHigh)),
      operations: this.#heartbeats.total(id),
      stillSeconds: this.#heartbeats.stillSeconds(id),
      waitsFor: this.#waitOf(id)?.what ?? null,
      holds: this.heldLocks()
        .filter(({ vcpu }) => vcpu === id)
        .map(({ name, site }) => `the ${name} lock taken at ${site}`),
    };
  }

  #waitOf(id: number): Wait | undefined {
    const lock = this.#read(id, VcpuCell.waitsForLock);
    if (lock > 0) return this.#waitForPart(id, lock - 1) ?? this.#waitForLock(lock - 1);
    const doing = this.#read(id, VcpuCell.doing);
    if (doing === Doing.flushWait) return this.#waitForFlush(id);
    if (this.#read(id, VcpuCell.state) === VcpuState.halted) return { what: "an interrupt", on: [] };
    return undefined;
  }

  /** A wait for a part, for those who have one, or for the lock of a page, which does not say whose it is. */
  #waitForPart(id: number, index: number): Wait | undefined {
    const wanted = wholeWantedBy(this.#memory, this.#layout);
    const what = lockPhrase(index);
    if (index === IN_PART) return { what, on: wanted < 0 ? [] : [wanted] };
    if (index !== WHOLE) return isOneOfMany(index) ? { what, on: [] } : undefined;
    if (wanted < 0) return undefined;
    const inside = partHolders(this.#memory, this.#layout);
    if (wanted !== id) return { what, on: [wanted] };
    return inside.length === 0 ? undefined : { what: `${what}, of which others hold parts`, on: inside };
  }

  #waitForLock(index: number): Wait {
    const { name, vcpu, site } = describeLock(this.#memory, this.#layout, index);
    if (vcpu === undefined)
      return { what: `the ${name} lock, which nobody holds`, on: [], isForNobody: true };
    const holder = vcpu === this.#layout.sizes.vcpus ? "the toolstack" : `vCPU ${String(vcpu)}`;
    const state = STATE_NAMES.get(this.#read(vcpu, VcpuCell.state));
    const gone = state === "ended" ? " and has ended" : "";
    return {
      what: `the ${name} lock, which ${holder} took at ${site ?? "no known place"}${gone}`,
      on: [vcpu],
    };
  }

  #waitForFlush(self: number): Wait {
    const on: number[] = [];
    for (let id = 0; id < this.#layout.sizes.vcpus; id++) {
      if (id === self || this.#read(id, VcpuCell.state) !== VcpuState.running) continue;
      const asked = this.#read(id, VcpuCell.flushRequested);
      if (((this.#read(id, VcpuCell.flushAcknowledged) - asked) | 0) < 0) on.push(id);
    }
    const targets = on.length === 0 ? "somebody" : on.map((id) => `vCPU ${String(id)}`).join(" and ");
    return { what: `${targets} to acknowledge a flush`, on };
  }

  /** Vertices from `start` back to it along waits, without the repetition at the end; empty when none leads back. */
  #pathBackTo(start: number): number[] {
    const seen = new Set<number>();
    const search = (id: number, path: number[]): number[] => {
      for (const next of this.#waitOf(id)?.on ?? []) {
        if (next === start) return path;
        if (seen.has(next)) continue;
        seen.add(next);
        const found = search(next, [...path, next]);
        if (found.length > 0) return found;
      }
      return [];
    };
    return search(start, [start]);
  }

  #read(id: number, offset: number): number {
    return this.#memory.loadWord(vcpuArea(this.#layout, vcpuId(id)) + offset);
  }
}

/** What two looks, some time apart, agree on. */
export function confirmed(first: readonly Violation[], second: readonly Violation[]): Violation[] {
  return second.filter(({ message }) => first.some((each) => each.message === message));
}

function hex64(low: number, high: number): string {
  return `0x${high === 0 ? "" : digits(high)}${digits(low)}`;
}

function digits(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}
