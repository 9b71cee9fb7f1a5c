/** One thread of a sweep. */
import type { PointAnswer, PointTask } from "../src/engines/simulate/point-task.ts";
import { runPoint } from "../src/engines/simulate/run-point.ts";

export default function work(task: PointTask): Promise<PointAnswer> {
  return runPoint(task);
}
