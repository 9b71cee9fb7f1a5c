/** Two presets on one scenario, in alternating slices: what the computer does beside falls on both alike. */
/* oxlint-disable no-await-in-loop -- the slices run one after another */
import type { CompareResult, CompareSide, StressResult } from "../../report/types.ts";
import { Crew } from "./crew.ts";
import { withPreset } from "./plan.ts";
import type { StressPlan, StressRequest } from "./plan.ts";
import { rate } from "./result.ts";
import { crewSize, runOn } from "./engine.ts";
import type { StressHooks } from "./run.ts";

/** Slices of each side: first A, then B; next B, then A; and so on. */
const PAIRS = 5;

/** Runs a plan with its own preset and with another. A slice that finds or meets anything bad is the last. */
export async function runCompare(
  plan: StressPlan,
  request: StressRequest & { readonly vs: string },
  hooks: StressHooks = {},
): Promise<CompareResult> {
  const plans = [plan, withPreset(plan, request, request.vs)].map((each) => sliceOf(each));
  const slices: StressResult[][] = [[], []];
  const crew = new Crew(crewSize(plan));
  let last: StressResult | undefined;
  try {
    for (let slice = 0; slice < 2 * PAIRS && (last === undefined || isFine(last)); slice++) {
      const which = sideOf(slice);
      const done = slice / (2 * PAIRS);
      const each = plans[which] ?? plan;
      const note = each.settings.preset;
      last = await runOn(crew, each, {
        ...hooks,
        onProgress: (fraction) => hooks.onProgress?.(done + fraction / (2 * PAIRS), note),
      });
      slices[which]?.push(last);
    }
  } finally {
    await crew.dismiss();
  }
  return summary(plan, request.vs, slices, last);
}

/** A B, B A, A B, B A, A B. */
function sideOf(slice: number): number {
  return ((slice >> 1) + slice) & 1;
}

function sliceOf(plan: StressPlan): StressPlan {
  return {
    ...plan,
    seconds: plan.seconds === null ? null : plan.seconds / (2 * PAIRS),
    operations: plan.operations === null ? null : Math.ceil(plan.operations / PAIRS),
  };
}

function isFine({ outcome, violations }: StressResult): boolean {
  return outcome === "completed" && violations.length === 0;
}

function summary(
  plan: StressPlan,
  vs: string,
  slices: readonly (readonly StressResult[])[],
  last: StressResult | undefined,
): CompareResult {
  const first = side(plan.settings.preset, slices[0] ?? []);
  const second = side(vs, slices[1] ?? []);
  const all = slices.flat();
  const counted = Object.keys(first.counters).filter(
    (name) => (first.counters[name] ?? 0) !== 0 || (second.counters[name] ?? 0) !== 0,
  );
  return {
    engine: "compare",
    command: plan.command,
    settings: plan.settings,
    sides: [first, second],
    ratios: {
      operationsPerSecond: ratioOf(second.operationsPerSecond, first.operationsPerSecond),
      faultsPerSecond: ratioOf(second.faultsPerSecond, first.faultsPerSecond),
      counters: Object.fromEntries(
        counted.map((name) => [
          name,
          ratioOf(second.perThousandOperations[name] ?? 0, first.perThousandOperations[name] ?? 0),
        ]),
      ),
    },
    outcome: last?.outcome ?? "interrupted",
    reason: last?.reason ?? null,
    signal: last?.signal ?? null,
    audits: all.reduce((sum, { audits }) => sum + audits, 0),
    violations: all.flatMap(({ violations }) => violations),
    stuck: last?.stuck ?? [],
  };
}

function side(preset: string, slices: readonly StressResult[]): CompareSide {
  const sum = (read: (slice: StressResult) => number): number =>
    slices.reduce((total, slice) => total + read(slice), 0);
  const seconds = sum((slice) => slice.seconds);
  const operations = sum((slice) => slice.operations);
  const faults = sum((slice) => slice.faults);
  const names = Object.keys(slices[0]?.counters ?? {});
  const counters = Object.fromEntries(names.map((name) => [name, sum((slice) => slice.counters[name] ?? 0)]));
  const perThousand = names.map((name) => [name, rate(1000 * (counters[name] ?? 0), operations)] as const);
  return {
    preset,
    slices: slices.length,
    seconds,
    operations,
    faults,
    operationsPerSecond: rate(operations, seconds),
    faultsPerSecond: rate(faults, seconds),
    counters,
    perThousandOperations: Object.fromEntries(perThousand),
  };
}

function ratioOf(value: number, base: number): number | null {
  return base === 0 ? null : value / base;
}
