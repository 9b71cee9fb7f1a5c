/**
 * A recorded guest under every preset, in the other assistance mode, with per-page locks, and under the eras with every
 * switch alone the other way round: on from `talk-before`, off or on from `talk`, where tables are walked and stores emulated under the lock, and from `xen-3.3`,
 * where they are not.
 */
/* oxlint-disable no-await-in-loop -- a replay has the cores to itself */
import { PRESETS, SWITCH_NAMES } from "../../hypervisor/machine-config.ts";
import type { PresetName } from "../../hypervisor/machine-config.ts";
import type { EachSwitchResult, SwitchRun } from "../../report/types.ts";
import { DEFAULT_PRESET, PRESET_NAMES } from "../machine-settings.ts";
import type { ReplayHooks } from "./replay-run.ts";
import { verifyTrace } from "./verify.ts";

/** A replay to be made. */
export interface Variant {
  readonly preset: PresetName;
  /** A setting as `--set` takes it; null for none. */
  readonly set: string | null;
}

/** Eras whose switches are turned one by one. */
const TURNED: readonly PresetName[] = ["talk-before", "talk", "xen-3.3"];

/** All variants: the presets, the other assistance mode, per-page locks, then each switch. */
export function variants(): Variant[] {
  const eras = PRESET_NAMES.map((preset) => ({ preset, set: null }));
  const modes = [{ preset: DEFAULT_PRESET, set: "paging=hap" }];
  const perPage = (["talk-before", "talk"] as const).map((preset) => ({ preset, set: "granularity=page" }));
  const turned = TURNED.flatMap((preset) =>
    SWITCH_NAMES.map((name) => ({ preset, set: `${name}=${PRESETS[preset][name] ? "off" : "on"}` })),
  );
  return [...eras, ...modes, ...perPage, ...turned];
}

/** Replays a trace in every variant. Ends early when it is interrupted. Throws UsageError for bad input. */
export async function verifyEachSwitch(
  file: string,
  hooks: ReplayHooks = {},
  chosen: readonly Variant[] = variants(),
): Promise<EachSwitchResult> {
  const runs: SwitchRun[] = [];
  for (const [index, { preset, set }] of chosen.entries()) {
    const onProgress = (fraction: number): void => hooks.onProgress?.((index + fraction) / chosen.length);
    const request = { file, preset, ...(set === null ? {} : { set: [set] }) };
    const result = await verifyTrace(request, { ...hooks, onProgress });
    runs.push({ preset, set, result });
    if (result.outcome === "interrupted") break;
  }
  return { engine: "switches", command: `umbra trace switches ${file}`, file, runs };
}
