/** What the threads of a calibration are told, and what each does. */
import type { MachineHandle } from "../../hypervisor/machine.ts";
import type { SharedMemoryHandle } from "../../memory/shared-memory.ts";
import type { MeasuredTime } from "../../report/types.ts";
import type { PointTask } from "../simulate/point-task.ts";
import { measureFlushes } from "./flush-trip.ts";
import { measureWorkload } from "./one-vcpu.ts";
import { measureOwnAccesses } from "./own-accesses.ts";
import { Partner } from "./partner.ts";
import { measureSharedLines } from "./shared-lines.ts";

/** Plain data. Each single time is measured for so many milliseconds. */
export type CalibrateTask = { readonly milliseconds: number } & (
  | { readonly kind: "alone" }
  | {
      readonly kind: "pair";
      readonly me: 0 | 1;
      readonly memory: SharedMemoryHandle;
      readonly machine: MachineHandle;
    }
  | { readonly kind: "workload"; readonly task: PointTask }
);

/** Measures what a task says, on the thread that it is called on. */
export async function runCalibrateTask(task: CalibrateTask): Promise<MeasuredTime[]> {
  const { milliseconds } = task;
  if (task.kind === "alone") return measureOwnAccesses(milliseconds);
  if (task.kind === "workload") return [await measureWorkload(task.task, milliseconds)];
  const partner = new Partner(task.me, task.memory);
  return [
    ...measureSharedLines(partner, milliseconds),
    ...measureFlushes(partner, task.machine, milliseconds),
  ];
}
