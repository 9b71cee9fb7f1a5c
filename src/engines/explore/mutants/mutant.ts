/** What a mutant is: a historical bug, put into the correct model from outside, with its smallest scenario. */
import type { Cpu } from "../../../guest/cpu.ts";
import type { DomainControl } from "../../../hypervisor/domain-control.ts";
import type { HostedVcpu } from "../../../hypervisor/machine.ts";
import type { MachineConfig } from "../../../hypervisor/machine-config.ts";

/** A kind of check, by the tag that the list of historical bugs gives it. */
export type Oracle = "RACE" | "INV" | "XLATE" | "UAF" | "REF" | "LOCK" | "ADBIT" | "DIRTY";

/**
 * A mutant. Its module exports its smallest scenario as default, and this as `mutant`. Under the scheduler the module is
 * loaded as coroutines, for its methods override such.
 */
export interface Mutant<Shared = unknown> {
  /** M01 to M20 as in the list of historical bugs; those above are rules of the specification, broken. */
  readonly id: string;
  /** What is wrong, in one line without a full stop. */
  readonly title: string;
  /** The kinds of check that find it; a crash does not count. */
  readonly oracles: readonly Oracle[];
  /** What differs from the default machine. */
  readonly machine?: Partial<MachineConfig>;
  /** Pages that the shadow pool has left when executions begin; those of the minimum when left out. */
  readonly freePoolPages?: number;
  /** Whether writes are logged from before the prologue on. */
  readonly logsDirty?: boolean;
  /** Whether all memory is tracked as a frame buffer from before the prologue on. */
  readonly tracksVram?: boolean;
  /** Whether per-page locks make it no bug: what it does happens in part of the shadow lock then. */
  readonly isHarmlessPerPage?: boolean;
  /** Whether vCPU 0's thread takes the domain apart when its program is over, in the middle of the execution. */
  readonly endsDomain?: boolean;
  /** What each vCPU does before executions begin: one vCPU after another, unscheduled and without the mutation. */
  prologue(cpu: Cpu, shared: Shared): void;
  /** Replaces parts of a vCPU's hypervisor. */
  mutate?(hosted: HostedVcpu): void;
  /** Replaces the toolstack. */
  mutateToolstack?(domain: DomainControl): DomainControl;
}

/** Makes a mutant of its definition. `Shared` is what its scenario's boot returns. */
export function defineMutant<Shared>(definition: Mutant<Shared>): Mutant<Shared> {
  return definition;
}
