/** What `npm run soak` runs: every scenario, under every preset and in hap, on threads with two and eight vCPUs and explored. */
import type { MachineConfig } from "../../src/hypervisor/machine-config.ts";
import { PRESET_NAMES, machineRequest } from "../../src/engines/machine-settings.ts";
import { bundledScenarios, loadScenario } from "../../src/engines/scenario-files.ts";

/** vCPUs in `stress`, where the scenario takes so many. */
const VCPUS = [2, 8] as const;

/** Its tables are made whole at the start, from a pool that a scenario may want to be small. */
const HAP = { paging: "hap", poolPages: 512 } as const;

/** Under what each scenario runs: arguments of any command that makes a machine, and the same as a request. */
export const MACHINES: readonly {
  readonly name: string;
  readonly args: readonly string[];
  readonly request: { readonly preset?: string; readonly set?: readonly string[] };
  /** Of the machine itself. */
  readonly config: Partial<MachineConfig>;
}[] = [
  ...PRESET_NAMES.map((name) => ({
    name,
    args: ["--preset", name],
    request: { preset: name },
    config: machineRequest(name, []).request,
  })),
  { name: "hap", args: ["--paging", "hap"], request: { set: ["paging=hap"] }, config: HAP },
];

/** One run: a command line of Umbra. */
export interface SoakRun {
  /** `stress fork-copy-on-write, talk, 8 vCPUs, pae`. */
  readonly name: string;
  readonly args: readonly string[];
}

/** All runs, `seconds` each. The guest's formats take turns, so that in a whole soak each meets each scenario. */
export async function soakPlan(seconds: string, seed: string | undefined): Promise<SoakRun[]> {
  const runs: SoakRun[] = [];
  const common = ["--seconds", seconds, ...(seed === undefined ? [] : ["--seed", seed])];
  for (const scenario of bundledScenarios()) {
    // oxlint-disable-next-line no-await-in-loop -- modules load one after another anyway
    const { vcpus, guests } = (await loadScenario(scenario)).scenario;
    let turn = 0;
    for (const { name: machine, args } of MACHINES) {
      const counts = VCPUS.map((wish) => Math.min(Math.max(wish, vcpus.min), vcpus.max));
      for (const count of new Set(counts)) {
        const guest = guests[turn++ % guests.length] ?? "4level";
        const options = ["--vcpus", String(count), "--guest", guest, ...args, ...common];
        const name = `stress ${scenario}, ${machine}, ${String(count)} vCPUs, ${guest}`;
        runs.push({ name, args: ["stress", scenario, ...options] });
      }
      const guest = guests[turn++ % guests.length] ?? "4level";
      const name = `explore ${scenario}, ${machine}, ${guest}`;
      runs.push({ name, args: ["explore", scenario, "--guest", guest, ...args, ...common] });
    }
  }
  return runs;
}
