/**
 * Machines through which a recorded guest goes. A replay has no virtual time: what it costs is what its counts cost, exits,
 * emulated stores and flushes, without the accesses of the hypervisor itself.
 */
/* oxlint-disable no-await-in-loop -- a replay has the cores to itself */
import { SWITCH_NAMES } from "../../hypervisor/machine-config.ts";
import type { Switches } from "../../hypervisor/machine-config.ts";
import { COUNTER_NAMES } from "../../memory/counters.ts";
import type { VerifyResult, Violation } from "../../report/types.ts";
import type { CostModel } from "../simulate/cost-model.ts";
import type { SweepHooks } from "../simulate/sweep.ts";
import { verifyTrace } from "../replay/verify.ts";
import { perThousand } from "./measured.ts";
import type { Measured, Measurements } from "./measured.ts";

/** Replays a trace through every machine. Throws UsageError for a file that is no trace. */
export async function measureTrace(
  file: string,
  machines: readonly Switches[],
  model: CostModel,
  hooks: SweepHooks = {},
): Promise<Measurements> {
  const unique = new Map(machines.map((switches) => [JSON.stringify(switches), switches]));
  const measured = new Map<string, Measured>();
  const violations: Violation[] = [];
  for (const [key, switches] of unique) {
    const set = SWITCH_NAMES.map((name) => `${name}=${switches[name] ? "on" : "off"}`);
    const result = await verifyTrace({ file, set }, { interruption: hooks.interruption });
    violations.push(...result.violations, ...wrongIn(result));
    if (result.outcome !== "completed") {
      const isOurs = result.outcome === "interrupted";
      const outcome = isOurs ? "interrupted" : "worker-died";
      const reason = isOurs ? `by ${String(result.signal)}` : `${result.command}: ${result.reason ?? ""}`;
      return { machines: machines.map(find), outcome, reason, violations, brokenLaws: 0 };
    }
    measured.set(key, measuredOf(result, model));
    hooks.onProgress?.(
      measured.size / unique.size,
      `${String(measured.size)} of ${String(unique.size)} replays`,
    );
  }
  return { machines: machines.map(find), outcome: "completed", reason: null, violations, brokenLaws: 0 };

  function find(switches: Switches): Measured | undefined {
    return measured.get(JSON.stringify(switches));
  }
}

/** What differs from the recording is worth nothing as a measurement. */
function wrongIn(result: VerifyResult): Violation[] {
  const { fillMismatches, faultMismatches, storeMismatches, tableMismatches } = result;
  const count = fillMismatches + faultMismatches + storeMismatches + (tableMismatches ?? 0);
  if (count === 0) return [];
  return [{ check: "recording", vcpu: -1, message: `${String(count)} differences: ${result.command}` }];
}

/** An operation is a record of the trace. */
function measuredOf({ counters, replayed, lockAcquisitions }: VerifyResult, model: CostModel): Measured {
  const nanos = COUNTER_NAMES.reduce(
    (sum, name) => sum + (counters[name] ?? 0) * (model.counters[name] ?? 0),
    0,
  );
  return { nanos: nanos / replayed, perThousand: perThousand(replayed, counters, lockAcquisitions) };
}
