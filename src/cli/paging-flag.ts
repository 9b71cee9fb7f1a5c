/** `--paging`, which every command has that makes a machine: short for a setting, and as such in what is printed to repeat it. */
import { pagingModeName } from "../engines/machine-settings.ts";

/** What the flag is about. */
export const PAGING_ABOUT =
  "assistance mode, shadow or hap: short for --set paging=<mode> (shadow unless said)";

/** The flag as it stands on the command line. */
export interface PagingFlag {
  readonly paging?: string | undefined;
}

/** Flags with the mode among the settings, last: it wins. Throws UsageError for a mode that there is not. */
export function withPaging<Flags extends PagingFlag & { readonly set?: readonly string[] | undefined }>(
  flags: Flags,
): Omit<Flags, "paging"> {
  const { paging, ...rest } = flags;
  if (paging === undefined) return rest;
  return { ...rest, set: [...(flags.set ?? []), `paging=${pagingModeName(paging)}`] };
}
