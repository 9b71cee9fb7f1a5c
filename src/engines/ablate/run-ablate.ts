/** An ablation: every machine of its plan does the same work, and what each optimisation is worth is told from their times. */
import type { AblateResult, AblationRow, PublishedRow, SlideFinding } from "../../report/types.ts";
import { SWITCH_NAMES } from "../../hypervisor/machine-config.ts";
import type { SweepHooks } from "../simulate/sweep.ts";
import type { AblatePlan, AblationVariant } from "./ablate-plan.ts";
import { PUBLISHED } from "./history.ts";
import { measureScenario } from "./measure-scenario.ts";
import { measureTrace } from "./measure-trace.ts";
import type { Measured, Measurements } from "./measured.ts";

type Machines = Measurements["machines"];

/** Measures what is planned. Throws UsageError for a recording that is none. */
export async function runAblate(plan: AblatePlan, hooks: SweepHooks = {}): Promise<AblateResult> {
  const { settings, variants, command, work } = plan;
  const { machines, outcome, reason, violations, brokenLaws } =
    work.kind === "trace"
      ? await measureTrace(
          work.file,
          variants.map(({ switches }) => switches),
          work.model,
          hooks,
        )
      : await measureScenario([...work.tasks, ...work.published], hooks);
  const rows = rowsOf(variants, machines.slice(0, variants.length));
  const outOfSync = publishedRows(machines.slice(variants.length));
  return {
    engine: "ablate",
    command,
    settings,
    outcome,
    reason,
    signal: hooks.interruption?.aborted === true ? String(hooks.interruption.reason) : null,
    rows,
    slide: slideFinding(rows),
    outOfSync,
    hasPublishedOrder: outOfSync.length === PUBLISHED.length ? hasPublishedOrder(outOfSync) : null,
    brokenLaws,
    violations,
  };
}

function rowsOf(variants: readonly AblationVariant[], machines: Machines): AblationRow[] {
  // A has none of them, the last of all has every one.
  const none = machines[0];
  const all = machines.at(-1);
  return variants.map(({ group, name, switches }, index) => {
    const own = machines[index];
    const isNext = group === "history" && variants[index - 1]?.group === group;
    const before = isNext ? machines[index - 1] : none;
    return {
      group,
      name,
      on: SWITCH_NAMES.filter((each) => switches[each]),
      nanosPerOperation: own?.nanos ?? null,
      // Of what is left out, the gain is what putting it back would save.
      gain: index === 0 ? null : group === "all but one" ? saved(own, all) : saved(before, own),
      perThousand: own?.perThousand ?? null,
    };
  });
}

function saved(without: Measured | undefined, withIt: Measured | undefined): number | null {
  return without === undefined || withIt === undefined
    ? null
    : (without.nanos - withIt.nanos) / without.nanos;
}

/** The slide's rows are A, A with the two, B without them, B. */
function slideFinding(rows: readonly AblationRow[]): SlideFinding | null {
  const ofSlide = rows.filter(({ group }) => group === "slide");
  const times = ofSlide.map(({ nanosPerOperation }) => nanosPerOperation ?? 0);
  const [a = 0, withTwo = 0, withoutTwo = 0, b = 0] = times;
  if (times.length < 4 || times.includes(0) || b >= a) return null;
  const broughtAlone = (a - withTwo) / (a - b);
  const lostWithout = (withoutTwo - b) / (a - b);
  return { gain: (a - b) / a, broughtAlone, lostWithout, holds: broughtAlone > 0.5 && lostWithout > 0.5 };
}

/** Machines come in pairs: a line of the table before, and after. */
function publishedRows(machines: Machines): PublishedRow[] {
  return PUBLISHED.flatMap(({ guest, vcpus, gain: published }, row) => {
    const before = machines[2 * row];
    const after = machines[2 * row + 1];
    if (before === undefined || after === undefined) return [];
    const gain = (before.nanos - after.nanos) / before.nanos;
    return [{ guest, vcpus, before: before.nanos, after: after.nanos, gain, published }];
  });
}

function hasPublishedOrder(rows: readonly PublishedRow[]): boolean {
  const order = rows.toSorted((one, other) => other.published - one.published);
  return order.every(({ gain }, index) => index === 0 || gain <= (order[index - 1]?.gain ?? 0));
}
