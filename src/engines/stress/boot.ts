/** A machine with its guest in memory and nobody running yet, and everything the main thread watches it with. */
import { Loader } from "../../guest/loader.ts";
import { Machine } from "../../hypervisor/machine.ts";
import { UsageError } from "../errors.ts";
import { RealClock } from "../real-clock.ts";
import { firstLine } from "../usage.ts";
import { Control } from "./control.ts";
import { Diagnosis } from "./diagnosis.ts";
import { Heartbeats } from "./heartbeats.ts";
import type { MemberTask } from "./member.ts";
import { Meter } from "./meter.ts";
import { ParkingLot } from "./parking.ts";
import { createWatchTable } from "./watchpoints.ts";
import type { WatchTable } from "./watchpoints.ts";
import type { ScenarioSource, StressPlan } from "./plan.ts";

/** What a run works on. */
export interface BootedMachine {
  readonly machine: Machine;
  readonly control: Control;
  readonly lot: ParkingLot;
  readonly heartbeats: Heartbeats;
  readonly meter: Meter;
  readonly diagnosis: Diagnosis;
  /** What each vCPU runs, and behind the last the toolstack, if the scenario has one. */
  readonly programs: readonly string[];
  /** What `boot` returned. */
  readonly shared: unknown;
  readonly tasks: readonly Omit<MemberTask, "run">[];
  /** Watchpoints that its threads share, null for none. */
  readonly watch: WatchTable | null;
}

/** Makes the machine of a plan and boots its guest. Throws UsageError when either cannot be. */
export function bootMachine(plan: StressPlan): BootedMachine {
  const { config, source } = plan;
  const machine = createMachine(plan);
  const { memory, layout } = machine;
  const shared = source.kind === "scenario" ? bootGuest(source, machine) : null;
  const programs = programNames(plan);
  const watch = plan.watch === "off" ? null : createWatchTable(plan.watch);
  const heartbeats = new Heartbeats(memory, layout);
  const work = workOf(plan, shared);
  return {
    machine,
    control: new Control(memory, layout),
    lot: new ParkingLot(memory, layout),
    heartbeats,
    meter: new Meter(memory, layout),
    diagnosis: new Diagnosis(memory, layout, heartbeats, programs.slice(0, config.vcpus)),
    programs,
    shared,
    watch,
    tasks: programs.map((_, member) => ({ machine: machine.handle, work, member, watch })),
  };
}

function workOf({ source, seed, operations }: StressPlan, shared: unknown): MemberTask["work"] {
  if (source.kind === "trace") {
    const { bytes, ramBytes, cpus } = source.trace;
    return { kind: "trace", trace: { bytes, ramBytes, cpus } };
  }
  const { loaded, guest, options } = source;
  const operationsMax = operations ?? 0;
  return { kind: "scenario", url: loaded.url, guest, options, shared, seed, operationsMax };
}

function createMachine({ config, settings }: StressPlan): Machine {
  try {
    return Machine.create(config, new RealClock());
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const size = `${String(config.ramPages)} pages of memory and ${String(config.poolPagesMax)} of pool`;
    throw new UsageError(`${settings.scenario}: this computer has no room for a machine with ${size}`, {
      cause: error,
    });
  }
}

function bootGuest({ loaded, guest, options }: ScenarioSource, machine: Machine): unknown {
  const { scenario } = loaded;
  try {
    const loader = new Loader({ ram: machine.guestRam(), format: guest, vcpus: machine.config.vcpus });
    return structuredClone(scenario.boot(loader, options));
  } catch (error) {
    throw new UsageError(`${loaded.called}: boot failed: ${firstLine(error)}`, { cause: error });
  }
}

function programNames({ source, config }: StressPlan): string[] {
  const ids = Array.from({ length: config.vcpus }, (_, id) => id);
  if (source.kind === "trace") return ids.map((id) => `records of CPU ${String(id)}`);
  const { scenario } = source.loaded;
  const names = ids.map((id) => {
    const index = id % scenario.programs.length;
    return scenario.programs[index]?.name || `program ${String(index)}`;
  });
  return scenario.toolstack === undefined ? names : [...names, "toolstack"];
}
