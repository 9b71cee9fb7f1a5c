/** What there is to run and to set. */
/* oxlint-disable no-await-in-loop -- modules load one after another anyway */
import { PRESETS, SWITCH_NAMES } from "../../hypervisor/machine-config.ts";
import { COUNTERS } from "../../memory/counters.ts";
import type { ListResult } from "../../report/types.ts";
import { PRESET_NAMES, settingDeclarations } from "../machine-settings.ts";
import { bundledScenarios, bundledTraces, loadScenario } from "../scenario-files.ts";

/** Which parts of the list are wanted. */
export interface ListRequest {
  readonly scenarios: boolean;
  readonly options: boolean;
  readonly counters: boolean;
}

/** Lists what is wanted; the other parts are empty. */
export async function makeList(request: ListRequest): Promise<ListResult> {
  return {
    scenarios: request.scenarios ? await scenarioList() : [],
    traces: request.scenarios ? bundledTraces() : [],
    options: request.options ? settingDeclarations() : [],
    presets: request.options ? presetList() : [],
    counters: request.counters ? Object.entries(COUNTERS).map(([name, about]) => ({ name, about })) : [],
  };
}

async function scenarioList(): Promise<ListResult["scenarios"]> {
  const found: ListResult["scenarios"][number][] = [];
  for (const file of bundledScenarios()) {
    const { name, about, guests, vcpus, options, choices } = (await loadScenario(file)).scenario;
    const allowed = Object.entries(choices ?? {}).flatMap(([option, values]) =>
      values === undefined ? [] : [[option, [...values]] as const],
    );
    found.push({ name, about, guests: [...guests], vcpus, options, choices: Object.fromEntries(allowed) });
  }
  return found;
}

function presetList(): ListResult["presets"] {
  return PRESET_NAMES.map((name) => ({ name, on: SWITCH_NAMES.filter((each) => PRESETS[name][each]) }));
}
