/** What the thread of one replayed vCPU does, from attaching to the machine to its report. */
import { TraceProgram } from "../../guest/trace/trace-program.ts";
import { Turns } from "../../guest/trace/turns.ts";
import type { ReplayOrder } from "../../guest/trace/turns.ts";
import { Machine } from "../../hypervisor/machine.ts";
import type { HostedVcpu, MachineHandle } from "../../hypervisor/machine.ts";
import { vcpuId } from "../../memory/units.ts";
import { RealClock } from "../real-clock.ts";
import { GuestView } from "./guest-view.ts";
import { Judge } from "./judge.ts";
import { ModeAnswers } from "./mode-answers.ts";
import type { ReplayOutcome } from "./outcome.ts";

/** One vCPU's part in a replay. */
export interface ReplayTask {
  readonly machine: MachineHandle;
  readonly trace: { readonly bytes: SharedArrayBuffer; readonly ramBytes: number; readonly cpus: number };
  readonly order: ReplayOrder;
  readonly vcpu: number;
  /** Where to keep what each access came to, if anybody asks. */
  readonly answers?: SharedArrayBuffer | undefined;
}

/**
 * Replays the records of one CPU, beside the threads of the others.
 *
 * @param prepare Is given the vCPU before it runs, to put a variant of some part in place of the part.
 */
export function replayVcpu(
  { machine: handle, trace, order, vcpu: id, answers }: ReplayTask,
  prepare?: (hosted: HostedVcpu) => void,
): ReplayOutcome {
  const machine = Machine.attach(handle);
  const hosted = machine.createVcpu(vcpuId(id), new RealClock());
  const { vcpu } = hosted;
  prepare?.(hosted);
  const view = new GuestView(machine, hosted);
  const turns = new Turns(vcpu, order);
  const judge = new Judge(vcpu, view, turns, trace, machine.config.switches["out-of-sync"]);
  if (answers !== undefined) judge.answers = new ModeAnswers(answers);
  const words = new Int32Array(trace.bytes);
  vcpu.start();
  const isFinished = new TraceProgram(vcpu, { words, cpus: trace.cpus }, turns, view, judge).run();
  vcpu.stop();
  hosted.held.checkNoneHeld("the replay");
  return {
    ...judge.counts,
    vcpu: id,
    isFinished,
    handovers: turns.handovers,
    first: judge.first,
    findings: vcpu.findings,
    crossings: judge.crossings,
  };
}
