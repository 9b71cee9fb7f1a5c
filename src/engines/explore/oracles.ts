/** Which kind of check, by the tags of the list of historical bugs, a finding belongs to. */
import type { Oracle } from "./mutants/mutant.ts";

/** Beginnings of the names of checks. What is in none of them, a crash say, is no oracle's. */
const BEGINNINGS: readonly (readonly [beginning: string, oracle: Oracle])[] = [
  ["race", "RACE"],
  ["audit", "INV"],
  ["translation", "XLATE"],
  ["lifetime", "UAF"],
  ["leak", "REF"],
  ["counts", "REF"],
  ["guest-entries", "ADBIT"],
  ["lock-", "LOCK"],
  ["deadlock", "LOCK"],
  ["dirty", "DIRTY"],
];

/** Watching checks that an oracle needs; the others look when an execution is over, or sit in the model. */
const WATCHING: Readonly<Record<Oracle, string | undefined>> = {
  RACE: "race",
  INV: "audit",
  XLATE: "memory",
  UAF: "memory",
  ADBIT: "memory",
  REF: undefined,
  LOCK: "locks",
  DIRTY: undefined,
};

/** The oracle that a check's findings are; undefined for those of none. */
export function oracleOf(check: string): Oracle | undefined {
  return BEGINNINGS.find(([beginning]) => check.startsWith(beginning))?.[1];
}

/** Names of the checks that watch for some oracles. */
export function watchersOf(oracles: readonly Oracle[]): string[] {
  const names = oracles.flatMap((oracle) => WATCHING[oracle] ?? []);
  return [...new Set(names)];
}
