/** What a worker of a stress run does, from its start to its end. Runs on the worker's thread. */
import { setImmediate } from "node:timers/promises";
import { Cpu } from "../../guest/cpu.ts";
import { runProgram } from "../../guest/run-program.ts";
import type { ProgramEnd } from "../../guest/run-program.ts";
import type { GuestFormat, Scenario, ScenarioOptions } from "../../guest/scenario.ts";
import { Machine } from "../../hypervisor/machine.ts";
import type { HostedVcpu, MachineHandle } from "../../hypervisor/machine.ts";
import type { Finding, Vcpu } from "../../machine/vcpu.ts";
import type { LockWait, WaitLengths } from "../../locks/lock-waits.ts";
import { vcpuId } from "../../memory/units.ts";
import { RealClock } from "../real-clock.ts";
import type { ReplayTask } from "../replay/replay-vcpu.ts";
import { importLoadedScenario } from "../scenario-files.ts";
import { Control, ControlCell, ToolstackState, WayOut } from "./control.ts";
import { replayPart } from "./replay-part.ts";
import { WorkerToolstack } from "./toolstack.ts";
import { WatchedMemory } from "./watchpoints.ts";
import type { WatchTable } from "./watchpoints.ts";

/** A program of a scenario, or its toolstack's. Plain data. */
export interface ScenarioWork {
  readonly kind: "scenario";
  readonly url: string;
  readonly guest: GuestFormat;
  readonly options: ScenarioOptions;
  /** What `boot` returned. */
  readonly shared: unknown;
  readonly seed: number;
  /** Guest operations after which the program ends; 0 for no bound. */
  readonly operationsMax: number;
}

/** The records of one CPU of a recorded guest. Plain data. */
export interface TraceWork {
  readonly kind: "trace";
  readonly trace: ReplayTask["trace"];
}

/** What a worker is told. Plain data. */
export interface MemberTask {
  readonly machine: MachineHandle;
  readonly work: ScenarioWork | TraceWork;
  /** The vCPU to run; the number behind the last is the toolstack. */
  readonly member: number;
  /** Watchpoints, null for none. */
  readonly watch: WatchTable | null;
  /** Comes back with every finding: workers serve one run after another. */
  readonly run: number;
}

/** What a worker reports when it leaves. */
export interface MemberReport {
  readonly end: ProgramEnd | "threw";
  /** What was thrown, with the place in the program. */
  readonly error: string | null;
  /** Of the toolstack: calls made. */
  readonly calls: number;
  readonly findings: readonly Finding[];
  readonly waits: readonly LockWait[];
  readonly waitLengths: readonly WaitLengths[];
}

/** Sent at once when something is found, so that it survives the worker. */
export interface FindingMessage {
  readonly finding: Finding;
  readonly run: number;
}

/** How a worker sends a message outside its report. */
export type Send = (message: FindingMessage) => void;

/** Runs one vCPU's part or the toolstack's; returns when the main thread has shown the way out. */
export async function runMember(task: MemberTask, send: Send): Promise<MemberReport> {
  const { work, member } = task;
  if (work.kind === "trace") {
    const { machine, control } = attach(task);
    const hosted = host(machine, task, send);
    return runPart(hosted, control, () => replayPart(machine, hosted, work));
  }
  const scenario = await importLoadedScenario(work.url);
  const { machine, control } = attach(task);
  if (member === machine.config.vcpus) return runToolstack(machine, control, scenario, work);
  const hosted = host(machine, task, send);
  return runPart(hosted, control, () => runVcpu(hosted.vcpu, control, scenario, work));
}

function attach({ machine: handle, watch, member }: MemberTask): { machine: Machine; control: Control } {
  const machine =
    watch === null
      ? Machine.attach(handle)
      : Machine.attach(handle, new WatchedMemory(handle.memory, handle.layout, watch, member));
  return { machine, control: new Control(machine.memory, machine.layout) };
}

function host(machine: Machine, { member, run }: MemberTask, send: Send): HostedVcpu {
  const hosted = machine.createVcpu(vcpuId(member), new RealClock());
  if (machine.memory instanceof WatchedMemory) {
    machine.memory.tell = (message) => {
      hosted.vcpu.reportViolation("race", message);
    };
  }
  tellAtOnce(hosted.vcpu, (finding) => {
    send({ finding, run });
  });
  return hosted;
}

async function runPart(hosted: HostedVcpu, control: Control, part: () => ProgramEnd): Promise<MemberReport> {
  const { vcpu, paging } = hosted;
  passGate(control);
  vcpu.lockWaits.forget();
  let end: MemberReport["end"];
  let error: string | null = null;
  try {
    end = part();
  } catch (thrown) {
    end = "threw";
    error = describeThrown(thrown);
    control.increment(ControlCell.threw);
  }
  await rejectionsHeard();
  // A guest that panicked, and one whose kernel threw, does not go on: the others need not wait for the time to pass.
  if (end === "panicked" || end === "threw") control.write(ControlCell.over, 1);
  vcpu.stop();
  const waits = vcpu.lockWaits.list();
  control.setBits(ControlCell.left, 1 << vcpu.id);
  control.waitWhile(ControlCell.wayOut, WayOut.wait);
  if (control.read(ControlCell.wayOut) === WayOut.tearDown) paging.teardownVcpu();
  return {
    end,
    error,
    calls: 0,
    findings: vcpu.findings.slice(),
    waits,
    waitLengths: vcpu.lockWaits.lengths(),
  };
}

function runVcpu(
  vcpu: Vcpu,
  control: Control,
  scenario: Scenario,
  { guest, seed, operationsMax, shared, options }: ScenarioWork,
): ProgramEnd {
  vcpu.start();
  const cpu = new Cpu({
    vcpu,
    vcpus: vcpu.layout.sizes.vcpus,
    format: guest,
    seed,
    operationsMax,
    limits: { isOver: () => control.read(ControlCell.over) !== 0 },
  });
  return runProgram(cpu, { scenario, shared, options });
}

async function runToolstack(
  machine: Machine,
  control: Control,
  scenario: Scenario,
  { seed, shared, options }: ScenarioWork,
): Promise<MemberReport> {
  const domain = machine.createToolstack(new RealClock());
  const toolstack = new WorkerToolstack(machine, control, domain, seed);
  passGate(control);
  domain.base.vcpu.lockWaits.forget();
  control.write(ControlCell.toolstack, ToolstackState.running);
  let error: string | null = null;
  try {
    scenario.toolstack?.(toolstack, shared, options);
  } catch (thrown) {
    error = describeThrown(thrown);
    control.increment(ControlCell.threw);
    control.write(ControlCell.over, 1);
  }
  await rejectionsHeard();
  control.write(ControlCell.toolstack, ToolstackState.ended);
  const end = error === null ? "finished" : "threw";
  const waits = domain.base.vcpu.lockWaits.list();
  return {
    end,
    error,
    calls: toolstack.calls,
    findings: domain.findings.slice(),
    waits,
    waitLengths: domain.base.vcpu.lockWaits.lengths(),
  };
}

/** Does not come back when a program left a rejected promise behind: Node then ends the thread with its error. */
function rejectionsHeard(): Promise<void> {
  return setImmediate();
}

function passGate(control: Control): void {
  control.increment(ControlCell.arrived);
  control.waitWhile(ControlCell.open, 0);
}

/** Makes the vCPU's findings known as they are made: a worker that is terminated later can tell nobody. */
function tellAtOnce(vcpu: Vcpu, tell: (finding: Finding) => void): void {
  const { findings } = vcpu;
  Object.defineProperty(findings, "push", {
    value: (finding: Finding) => {
      tell(finding);
      findings[findings.length] = finding;
      return findings.length;
    },
  });
}

/** An error in one line, with the first place of its stack that is not Node's own. */
function describeThrown(thrown: unknown): string {
  if (!(thrown instanceof Error)) return `threw ${String(thrown)}`;
  const { name, message, stack = "" } = thrown;
  const place = /^\s+at (?:.*\()?(?:file:\/\/)?(\/[^\s)]+:\d+):\d+\)?$/m.exec(stack)?.[1];
  const text = message.split("\n")[0] ?? "";
  return `${name}: ${text}${place === undefined ? "" : ` (at ${place})`}`;
}
