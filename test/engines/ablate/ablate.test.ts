/** What optimisations are worth: every machine is measured once, gains are what the times say, and switches do what they say. */
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { allVariants, planAblate } from "../../../src/engines/ablate/ablate-plan.ts";
import { HISTORY, PUBLISHED } from "../../../src/engines/ablate/history.ts";
import { runAblate } from "../../../src/engines/ablate/run-ablate.ts";
import { SWITCH_NAMES } from "../../../src/hypervisor/machine-config.ts";
import { ablateReport } from "../../../src/report/ablate-report.ts";
import { PLAIN } from "../../../src/report/text.ts";
import type { AblateResult, AblationRow } from "../../../src/report/types.ts";
import { ROOT } from "../../source.ts";

const TRACE = join(ROOT, "scenarios/traces/2level.trace.gz");

let result: AblateResult;

beforeAll(async () => {
  result = await runAblate(await planAblate({ workload: "build", milliseconds: "0.4", seed: "1" }));
}, 120_000);

function row(group: string, name: string): AblationRow {
  const found = result.rows.find((each) => each.group === group && each.name === name);
  if (found === undefined) throw new Error(`no row ${group} ${name}`);
  return found;
}

function countOn(group: string, name: string): number {
  const found = allVariants().find((each) => each.group === group && each.name === name);
  return SWITCH_NAMES.filter((each) => found?.switches[each]).length;
}

function timeOf({ nanosPerOperation }: AblationRow): number {
  return nanosPerOperation ?? 0;
}

/** Places in a list, the largest number's first. */
function orderOf(gains: readonly number[]): string {
  return [...gains.keys()].toSorted((a, b) => (gains[b] ?? 0) - (gains[a] ?? 0)).join();
}

test("history has every optimisation once, in order", () => {
  expect(HISTORY.map(({ name }) => name).toSorted()).toEqual(SWITCH_NAMES.toSorted());
  const days = HISTORY.map(({ since }) => since);
  expect(days).toEqual(days.toSorted());
});

test("machines differ by what their names say", () => {
  for (const [index, { name }] of HISTORY.entries()) {
    expect([countOn("alone", name), countOn("all but one", name), countOn("history", name)]).toEqual([
      1,
      HISTORY.length - 1,
      index + 1,
    ]);
    expect(row("all but one", name).on).not.toContain(name);
  }
});

test("it ran without a violation, and one machine by two names has one result", () => {
  const { outcome, violations, brokenLaws, rows } = result;
  expect({ outcome, violations, brokenLaws }).toEqual({
    outcome: "completed",
    violations: [],
    brokenLaws: 0,
  });
  expect(rows.every(({ nanosPerOperation }) => (nanosPerOperation ?? 0) > 0)).toBe(true);
  const first = HISTORY[0]?.name ?? "";
  expect(row("history", first)).toEqual({ ...row("alone", first), group: "history" });
});

test("gains are what the times say", () => {
  const none = timeOf(row("slide", "A: talk-before"));
  const all = timeOf(row("history", "pagetable-dying"));
  for (const [index, { name }] of HISTORY.entries()) {
    expect(row("alone", name).gain).toBeCloseTo(1 - timeOf(row("alone", name)) / none);
    expect(row("all but one", name).gain).toBeCloseTo(1 - all / timeOf(row("all but one", name)));
    const before = index === 0 ? none : timeOf(row("history", HISTORY[index - 1]?.name ?? ""));
    expect(row("history", name).gain).toBeCloseTo(1 - timeOf(row("history", name)) / before);
  }
});

test("an optimisation that is off does nothing, and one that is on does", () => {
  expect(row("alone", "prefetch").perThousand?.fastFaults).toBe(0);
  expect(row("slide", "B: talk").perThousand?.fastFaults).toBeGreaterThan(0);
  const before = row("slide", "A: talk-before").perThousand?.emulations ?? 0;
  expect(row("alone", "out-of-sync").perThousand?.emulations).toBeLessThan(before / 2);
});

test("the published table stands beside ours, line by line", () => {
  expect(result.outOfSync.map(({ guest, vcpus }) => [guest, vcpus])).toEqual(
    PUBLISHED.map(({ guest, vcpus }) => [guest, vcpus]),
  );
  for (const { before, after, gain } of result.outOfSync) expect(gain).toBeCloseTo(1 - after / before);
  expect(result.hasPublishedOrder).toBe(
    orderOf(result.outOfSync.map(({ gain }) => gain)) === orderOf(PUBLISHED.map(({ gain }) => gain)),
  );
});

test("the report says in words what was asked, and what it is not about", () => {
  const text = ablateReport(result, PLAIN);
  expect(text).toMatch(
    /The slide's finding (?:holds|does not hold) here: B takes \d+\.\d % less time than A\./,
  );
  expect(text).toContain("The slide speaks of office work, which this is not.");
  expect(text).toMatch(/The gains (?:do not )?come in the published order\./);
});

test("a recorded guest goes through every machine, and costs what its counts cost", async () => {
  const plan = await planAblate({ workload: TRACE });
  const two = [plan.variants[0], plan.variants[3]].filter((each) => each !== undefined);
  const { rows, violations, outcome, slide } = await runAblate({ ...plan, variants: two });
  expect({ outcome, violations, slide }).toEqual({ outcome: "completed", violations: [], slide: null });
  const [a, b] = rows;
  expect(b?.perThousand?.exits).toBeLessThan(a?.perThousand?.exits ?? 0);
  expect(b?.gain).toBeGreaterThan(0);
  await expect(planAblate({ workload: TRACE, seed: "1" })).rejects.toThrow("--seed: a recording has its own");
  await expect(planAblate({ workload: "none.trace.gz" })).rejects.toThrow("none.trace.gz");
});

test("interrupted, it tells what it knows", async () => {
  const plan = await planAblate({ workload: "office", milliseconds: "0.2", seed: "1" });
  const { outcome, reason, rows, slide } = await runAblate(plan, {
    interruption: AbortSignal.abort("SIGINT"),
  });
  expect({ outcome, reason, slide }).toEqual({ outcome: "interrupted", reason: "by SIGINT", slide: null });
  expect(rows.every(({ nanosPerOperation }) => nanosPerOperation === null)).toBe(true);
  expect(ablateReport({ ...result, outcome, reason, rows, slide }, PLAIN)).toContain(
    "interrupted: by SIGINT",
  );
});
