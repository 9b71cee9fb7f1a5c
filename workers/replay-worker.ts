/** The thread of one vCPU in a replay. */
import type { ReplayOutcome } from "../src/engines/replay/outcome.ts";
import { replayVcpu } from "../src/engines/replay/replay-vcpu.ts";
import type { ReplayTask } from "../src/engines/replay/replay-vcpu.ts";

export default function work(task: ReplayTask): ReplayOutcome {
  return replayVcpu(task);
}
