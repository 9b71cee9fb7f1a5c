/** What a soak runs: every scenario, under every preset, with per-page locks and in hap, on threads with two and eight vCPUs and explored. */
import type { GuestFormat } from "../../src/guest/scenario.ts";
import type { MachineConfig } from "../../src/hypervisor/machine-config.ts";
import { PRESET_NAMES, machineRequest } from "../../src/engines/machine-settings.ts";
import { bundledScenarios, loadScenario } from "../../src/engines/scenario-files.ts";

/** vCPUs in `stress`, where the scenario takes so many. */
const VCPUS = [2, 8] as const;

/** Its tables are made whole at the start, from a pool that a scenario may want to be small. */
const HAP = { paging: "hap", poolPages: 512 } as const;

/** Under what a scenario runs: arguments of any command that makes a machine, and the same as a request. */
export interface SoakMachine {
  readonly name: string;
  readonly args: readonly string[];
  readonly request: { readonly preset?: string; readonly set?: readonly string[] };
  /** Of the machine itself. */
  readonly config: Partial<MachineConfig>;
}

const MACHINES: readonly SoakMachine[] = [
  ...PRESET_NAMES.map((name) => ({
    name,
    args: ["--preset", name],
    request: { preset: name },
    config: machineRequest(name, []).request,
  })),
  {
    name: "per page",
    args: ["--set", "granularity=page"],
    request: { set: ["granularity=page"] },
    config: { granularity: "page" },
  },
  { name: "hap", args: ["--paging", "hap"], request: { set: ["paging=hap"] }, config: HAP },
];

/** One run, however long. */
export interface SoakCase {
  /** `stress fork-copy-on-write, talk, 8 vCPUs, pae`. */
  readonly name: string;
  readonly scenario: string;
  readonly machine: SoakMachine;
  readonly guest: GuestFormat;
  /** On so many threads; null for a run that is explored. */
  readonly vcpus: number | null;
}

/**
 * All there is to run. The formats of a guest take turns from scenario to scenario, from machine to machine and from two
 * vCPUs to eight to exploration: in a whole soak each format meets each scenario in each of these ways.
 */
export async function soakCases(): Promise<SoakCase[]> {
  const cases: SoakCase[] = [];
  for (const [place, scenario] of bundledScenarios().entries()) {
    // oxlint-disable-next-line no-await-in-loop -- modules load one after another anyway
    const { vcpus, guests } = (await loadScenario(scenario)).scenario;
    for (const [row, machine] of MACHINES.entries()) {
      let turn = place + row;
      const counts = VCPUS.map((wish) => Math.min(Math.max(wish, vcpus.min), vcpus.max));
      for (const count of [...new Set(counts), null]) {
        const guest = guests[turn++ % guests.length] ?? "4level";
        const [engine, threads] = count === null ? ["explore", ""] : ["stress", ` ${String(count)} vCPUs,`];
        const name = `${engine} ${scenario}, ${machine.name},${threads} ${guest}`;
        cases.push({ name, scenario, machine, guest, vcpus: count });
      }
    }
  }
  return cases;
}

/** A run as a command line of Umbra. */
export interface SoakRun {
  readonly name: string;
  readonly args: readonly string[];
}

/** What `npm run soak` runs, `seconds` each. */
export async function soakPlan(seconds: string, seed: string | undefined): Promise<SoakRun[]> {
  const common = ["--seconds", seconds, ...(seed === undefined ? [] : ["--seed", seed])];
  return (await soakCases()).map(({ name, scenario, machine, guest, vcpus }) => {
    const options = ["--guest", guest, ...machine.args, ...common];
    const args =
      vcpus === null
        ? ["explore", scenario, ...options]
        : ["stress", scenario, "--vcpus", String(vcpus), ...options];
    return { name, args };
  });
}
