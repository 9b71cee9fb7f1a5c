/** One thread of a calibration. */
import { runCalibrateTask } from "../src/engines/calibrate/calibrate-task.ts";
import type { CalibrateTask } from "../src/engines/calibrate/calibrate-task.ts";

export default function work(task: CalibrateTask): ReturnType<typeof runCalibrateTask> {
  return runCalibrateTask(task);
}
