/** What an audit consists of. */
import type { AuditView } from "./audit-view.ts";

/**
 * What has to be written before an invariant can cease to hold: entries or records that it looks at, or a list that it
 * walks as a whole. `any` are cheap to look at each time.
 */
export type Topic = "any" | "entries" | "p2m" | "hash" | "pinned" | "pool" | "heap" | "dirty";

/** The usual reason why an invariant holds whenever nobody is inside the paging lock, whatever else goes on. */
export const UNDER_LOCK = "as it stands: all that it compares is written under the paging lock";

/** Something that must hold whenever the paging lock is free. */
export interface Invariant {
  readonly name: string;
  /** Where the specification states it. */
  readonly source: string;
  /** What goes wrong in a real hypervisor when it fails. */
  readonly because: string;
  readonly topic: Topic;
  /** Why it holds, and with which exceptions, at the moment when the paging lock falls free while vCPUs are in flight. */
  readonly inFlight: string;
  /** Yields a sentence for each place where it fails. */
  violations(view: AuditView): Iterable<string>;
}
