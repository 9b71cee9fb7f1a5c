/** What `umbra list` lists. */

/** The result of `umbra list`; parts that were not asked for are empty. */
export interface ListResult {
  readonly scenarios: readonly {
    readonly name: string;
    readonly about: string;
    readonly guests: readonly string[];
    readonly vcpus: { readonly min: number; readonly max: number; readonly default: number };
    /** The scenario's options and their defaults. */
    readonly options: Readonly<Record<string, string | number | boolean>>;
    /** The values that an option of text may have, where they are bounded. */
    readonly choices: Readonly<Record<string, readonly string[]>>;
  }[];
  /** Recorded guests that come with Umbra, as paths. */
  readonly traces: readonly string[];
  /** The settings that `--set` knows besides a scenario's own. */
  readonly options: readonly {
    readonly name: string;
    readonly values: string;
    readonly default: string;
    readonly about: string;
  }[];
  readonly presets: readonly { readonly name: string; readonly on: readonly string[] }[];
  readonly counters: readonly { readonly name: string; readonly about: string }[];
}
