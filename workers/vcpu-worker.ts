/** The thread of one vCPU, or of the toolstack, in a stress run. */
import { parentPort } from "node:worker_threads";
import { runMember } from "../src/engines/stress/member.ts";
import type { MemberReport, MemberTask } from "../src/engines/stress/member.ts";

export default function work(task: MemberTask): Promise<MemberReport> {
  return runMember(task, (message) => parentPort?.postMessage(message));
}
