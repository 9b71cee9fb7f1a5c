/** Replays a trace of one CPU on the calling thread: as `trace verify` does, without starting a worker. */
import { isProblem, checkTrace, problemText } from "../../../src/guest/trace/check-trace.ts";
import { Machine } from "../../../src/hypervisor/machine.ts";
import type { HostedVcpu } from "../../../src/hypervisor/machine.ts";
import { machineConfig } from "../../../src/hypervisor/machine-config.ts";
import type { MachineConfig } from "../../../src/hypervisor/machine-config.ts";
import { CounterSet } from "../../../src/machine/counter-set.ts";
import { Counter } from "../../../src/memory/counters.ts";
import type { CounterName } from "../../../src/memory/counters.ts";
import { vcpuId } from "../../../src/memory/units.ts";
import { RealClock } from "../../../src/engines/real-clock.ts";
import { explain } from "../../../src/engines/replay/explain.ts";
import { ReferenceTables, tableMismatchText } from "../../../src/engines/replay/reference-tables.ts";
import { replayVcpu } from "../../../src/engines/replay/replay-vcpu.ts";
import { auditAtRest } from "../../../src/engines/stress/audit.ts";
import type { TraceBuilder } from "../../guest/trace/trace-builder.ts";

/** What is wrong, as text, and what the shadows had to do. */
export interface HereResult {
  readonly isFinished: boolean;
  readonly fills: number;
  readonly faults: number;
  readonly stores: number;
  readonly legalDifferences: number;
  readonly legalRights: number;
  /** Every mismatch, violation and table that differs; empty when all agrees. */
  readonly wrong: readonly string[];
  /** The explanation of the first mismatch. */
  readonly explained: readonly string[];
  counter(name: CounterName): number;
}

/** Replays; `prepare` is given the vCPU first. */
export function replayHere(
  trace: TraceBuilder,
  config: Partial<MachineConfig> = {},
  prepare?: (hosted: HostedVcpu) => void,
): HereResult {
  const source = trace.bytes();
  const bytes = new SharedArrayBuffer(source.length);
  new Uint8Array(bytes).set(source);
  const words = new Int32Array(bytes);
  const checked = checkTrace(words, source.length);
  if (isProblem(checked)) throw new Error(problemText(checked));
  const { ramBytes } = checked;
  const machine = Machine.create(
    machineConfig({ vcpus: 1, ramPages: ramBytes / 4096, ...config }),
    new RealClock(),
  );
  const task = {
    machine: machine.handle,
    trace: { bytes, ramBytes, cpus: 1 },
    order: "strict",
    vcpu: 0,
  } as const;
  const outcome = replayVcpu(task, prepare);
  const ram = machine.guestRam();
  const reference = new ReferenceTables(
    words,
    1,
    new Map(outcome.crossings),
    machine.config.switches["out-of-sync"],
  );
  const tables = Array.from(
    reference.compare((address) => ram.readWord(address), false),
    tableMismatchText,
  );
  const counters = new CounterSet(machine.memory, machine.layout, vcpuId(0));
  const [first] = outcome.first;
  return {
    isFinished: outcome.isFinished,
    fills: outcome.fills,
    faults: outcome.faults,
    stores: outcome.stores,
    legalDifferences: outcome.legalDifferences,
    legalRights: outcome.legalRights,
    wrong: [
      ...outcome.first.map(({ what }) => what),
      ...outcome.findings.map(({ message }) => message),
      ...auditAtRest(machine).map(({ message }) => message),
      ...tables,
    ],
    explained: first === undefined ? [] : explain(first, words),
    counter: (name) => counters.value(Counter[name]),
  };
}
