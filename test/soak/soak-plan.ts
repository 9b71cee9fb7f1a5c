/** What `npm run soak` runs: every scenario, under every preset and in hap, on threads with two and eight vCPUs and explored. */
import { PRESET_NAMES } from "../../src/engines/machine-settings.ts";
import { bundledScenarios, loadScenario } from "../../src/engines/scenario-files.ts";

/** vCPUs in `stress`, where the scenario takes so many. */
const VCPUS = [2, 8] as const;

/** Under what each scenario runs: arguments of any command that makes a machine. */
const MACHINES: readonly (readonly [name: string, ...args: string[]])[] = [
  ...PRESET_NAMES.map((name) => [name, "--preset", name] as const),
  ["hap", "--paging", "hap"],
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
    for (const [machine, ...args] of MACHINES) {
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
