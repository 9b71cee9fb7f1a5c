/** Who waited for which lock, in the form of results. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { lockPlaces, waitRows, withWaits } from "../../src/engines/lock-waits.ts";
import { LockSite, lockSiteName } from "../../src/locks/lock-class.ts";
import { LOCK_NAMES } from "../../src/memory/layout.ts";
import { LockWaits } from "../../src/locks/lock-waits.ts";
import { PAGING } from "../report/results.ts";
import { planSimulate } from "../../src/engines/simulate/simulate-plan.ts";
import { runSimulate } from "../../src/engines/simulate/sweep.ts";
import { runStress } from "../../src/engines/stress/engine.ts";
import { planStress } from "../../src/engines/stress/plan.ts";
import type { LockRow, LockWaitRow } from "../../src/report/types.ts";
import { ROOT } from "../source.ts";

/** What takes a lock at a place that it names. */
const TAKES = /\.(acquire|tryBegin|beginRead|beginStore|lockTable|lockFrame)\(.*\b(LockSite\.|SITE_)/;

const row = { lock: "paging", vcpu: 0, count: 1 };

test("a vCPU's waits are summed by lock and by both places, and forgotten", () => {
  const waits = new LockWaits();
  expect(waits.list()).toEqual([]);
  waits.note(LOCK_NAMES.indexOf("heap"), LockSite.heap_free, LockSite.heap_alloc, 5);
  waits.note(1, LockSite.page_fault, LockSite.invlpg, 7);
  waits.note(1, LockSite.page_fault, LockSite.invlpg, 8);
  expect(waitRows(3, waits.list())).toEqual([
    { lock: "paging", vcpu: 3, site: "page_fault", heldAt: "invlpg", count: 2, nanos: 15 },
    { lock: "heap", vcpu: 3, site: "heap_free", heldAt: "heap_alloc", count: 1, nanos: 5 },
  ]);
  waits.forget();
  expect(waits.list()).toEqual([]);
});

test("the places on top are those with the most time, not with the most waits", () => {
  const waits = [
    { ...row, site: "invlpg", heldAt: "domctl", count: 9, nanos: 10 },
    { ...row, site: "page_fault", heldAt: "invlpg", nanos: 6 },
    { ...row, site: "page_fault", heldAt: "domctl", nanos: 5 },
    { ...row, lock: "heap", site: "heap_free", heldAt: "heap_alloc", nanos: 100 },
  ];
  const { topWaitingSite, topHoldingSite } = withWaits(PAGING, waits);
  expect([topWaitingSite, topHoldingSite]).toEqual(["page_fault", "domctl"]);
  expect(withWaits(PAGING, [])).toMatchObject({ topWaitingSite: null, topHoldingSite: null });
});

test("the lines of a place take a lock there", () => {
  const sites = Object.values(LockSite).map(lockSiteName);
  const places = lockPlaces(sites.map((site) => ({ ...row, site, heldAt: site, nanos: 1 })));
  const unknown = sites.filter((site) => places[site] === undefined);
  // Nothing in the hypervisor takes a lock at these.
  expect(unknown.toSorted()).toEqual(["domain_init", "fast_path", "test"]);
  for (const found of Object.values(places).flatMap((text) => text.split("; "))) {
    const [file = "", lines = ""] = found.split(":");
    const source = readFileSync(join(ROOT, "src/hypervisor", file), "utf8").split("\n");
    for (const line of lines.split(", ")) expect(source[Number(line) - 1]).toMatch(TAKES);
  }
  expect(lockPlaces([])).toEqual({});
});

/** By how many nanoseconds a wait the breakdown and the locks' own statistics, which are whole numbers, differ. */
function offEach(locks: readonly LockRow[], waits: readonly LockWaitRow[]): number[] {
  return locks.map(({ name, waittimeTotal, contentions }) => {
    const own = waits.filter(({ lock }) => lock === name);
    expect(own.reduce((sum, { count }) => sum + count, 0)).toBe(contentions);
    const nanos = own.reduce((sum, each) => sum + each.nanos, 0);
    return contentions === 0 ? nanos : Math.abs(nanos - waittimeTotal) / contentions;
  });
}

test("the waits of a run on threads are those that its locks have counted", async () => {
  const plan = await planStress({ scenario: "p2m-under-load", vcpus: "3", ops: "6000", seed: "1" });
  const { locks, waits, outcome, lockPlaces: places } = await runStress(plan);
  expect(outcome).toBe("completed");
  for (const each of offEach(locks, waits)) expect(each).toBeLessThan(1);
  expect(waits.length).toBeGreaterThan(0);
  expect(Object.keys(places).length).toBeGreaterThan(0);
}, 60_000);

test("the waits of a run in virtual time are those that its locks have counted", async () => {
  const plan = await planSimulate({
    scenario: "disjoint-spaces",
    vcpus: "4",
    lock: "mcs",
    milliseconds: "0.2",
    seed: "1",
  });
  const [point] = (await runSimulate(plan)).points;
  expect(point?.locks.map(({ topWaitingSite }) => topWaitingSite)).toEqual([null, "page_fault", null]);
  expect(offEach(point?.locks ?? [], point?.waits ?? [])).toEqual([0, 0, 0]);
});
