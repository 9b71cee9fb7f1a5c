/** What an audit consists of. */
import type { MachineView } from "./machine-view.ts";

/** Something that must hold whenever the paging lock is free. */
export interface Invariant {
  readonly name: string;
  /** Where the specification states it. */
  readonly source: string;
  /** What goes wrong in a real hypervisor when it fails. */
  readonly because: string;
  /** Yields a sentence for each place where it fails. */
  violations(view: MachineView): Iterable<string>;
}
