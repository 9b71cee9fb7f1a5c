/** A recorded CPU as a vCPU's part in a stress run: in causal order, so that vCPUs run beside each other. */
import type { ProgramEnd } from "../../guest/run-program.ts";
import { TraceProgram } from "../../guest/trace/trace-program.ts";
import { Turns } from "../../guest/trace/turns.ts";
import type { HostedVcpu, Machine } from "../../hypervisor/machine.ts";
import { GuestView } from "../replay/guest-view.ts";
import { Judge } from "../replay/judge.ts";
import type { TraceWork } from "./member.ts";

/** Replays the records of a vCPU. What comes out otherwise than recorded is a finding. */
export function replayPart(machine: Machine, hosted: HostedVcpu, { trace }: TraceWork): ProgramEnd {
  const { vcpu } = hosted;
  const view = new GuestView(machine, hosted);
  const turns = new Turns(vcpu, "causal");
  const judge = new Judge(vcpu, view, turns, trace, machine.config.switches["out-of-sync"]);
  const words = new Int32Array(trace.bytes);
  vcpu.start();
  const isFinished = new TraceProgram(vcpu, { words, cpus: trace.cpus }, turns, view, judge).run();
  for (const { record, what } of judge.first) {
    vcpu.reportViolation("replay", `record ${String(record)}: ${what}`);
  }
  return isFinished ? "finished" : "stopped";
}
