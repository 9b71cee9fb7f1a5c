/** Waits for locks in the form of a result: by lock, vCPU and place, with the lines of source that the places are. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { lockClassOf, lockSiteName } from "../locks/lock-class.ts";
import type { LockWait } from "../locks/lock-waits.ts";
import type { LockPlaces, LockRow, LockWaitRow } from "../report/types.ts";
import { OWN_EXTENSION } from "./own-files.ts";

const MODEL = fileURLToPath(new URL("../hypervisor", import.meta.url));
/** `lock.acquire(LockSite.page_fault)`, or a constant of the module's own in the same place, perhaps with what is locked. */
const TAKES = /\.(?:acquire|tryBegin|beginRead|beginStore|lockTable|lockFrame)\(([^;]*?)\)[;) ]/g;
const SITE = /LockSite\.(\w+)|\b(SITE_\w+)\b/;
const OWN_CONSTANT = /^const (\w+) = LockSite\.(\w+);$/gm;

/** Rows of the waits of one vCPU. */
export function waitRows(vcpu: number, waits: readonly LockWait[]): LockWaitRow[] {
  return waits.map(({ lock, site, heldAt, count, nanos }) => ({
    lock: lockClassOf(lock).name,
    vcpu,
    site: lockSiteName(site),
    heldAt: lockSiteName(heldAt),
    count,
    nanos,
  }));
}

/** A lock's row with what the waits say of it. */
export function withWaits(row: LockRow, waits: readonly LockWaitRow[]): LockRow {
  const own = waits.filter(({ lock }) => lock === row.name);
  return {
    ...row,
    topWaitingSite: most(own, ({ site }) => site),
    topHoldingSite: most(own, ({ heldAt }) => heldAt),
  };
}

/** The key with the most waiting time, of equals the first; null when nobody waited. */
function most(waits: readonly LockWaitRow[], keyOf: (row: LockWaitRow) => string): string | null {
  const sums = new Map<string, number>();
  for (const row of waits) sums.set(keyOf(row), (sums.get(keyOf(row)) ?? 0) + row.nanos);
  let top: string | null = null;
  for (const [key, nanos] of sums) if (top === null || nanos > (sums.get(top) ?? 0)) top = key;
  return top;
}

/** The lines at which the places of some waits take their locks: `shadow/fault.ts:119, 133`. */
export function lockPlaces(waits: readonly LockWaitRow[]): LockPlaces {
  const wanted = new Set(waits.flatMap(({ site, heldAt }) => [site, heldAt]));
  if (wanted.size === 0) return {};
  const places = new Map<string, string[]>();
  const files = readdirSync(MODEL, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(OWN_EXTENSION))
    .toSorted();
  for (const file of files) {
    for (const [site, lines] of linesOf(readFileSync(join(MODEL, file), "utf8")))
      if (wanted.has(site))
        places.set(site, [...(places.get(site) ?? []), `${file}:${[...lines].map(String).join(", ")}`]);
  }
  return Object.fromEntries([...places].map(([site, found]) => [site, found.join("; ")]));
}

/** The lines of one module at which each place takes a lock. */
function linesOf(text: string): Map<string, number[]> {
  const own = new Map([...text.matchAll(OWN_CONSTANT)].map(([, name = "", site = ""]) => [name, site]));
  const lines = new Map<string, number[]>();
  for (const match of text.matchAll(TAKES)) {
    const found = SITE.exec(match[1] ?? "");
    if (found === null) continue;
    const [, named, constant = ""] = found;
    const site = named ?? own.get(constant) ?? constant;
    const line = text.slice(0, match.index).split("\n").length;
    lines.set(site, [...(lines.get(site) ?? []), line]);
  }
  return lines;
}
