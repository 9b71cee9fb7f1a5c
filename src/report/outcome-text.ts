/** How runs end, in words. */
import type { VerifyOutcome } from "./verify-result.ts";

const OUTCOMES: Readonly<Record<VerifyOutcome, string>> = {
  completed: "completed",
  stopped: "stopped",
  interrupted: "interrupted",
  "worker-died": "a worker died",
  stuck: "stuck",
};

/** How a run ended, and why. */
export function outcomeText({
  outcome,
  reason,
}: {
  readonly outcome: VerifyOutcome;
  readonly reason: string | null;
}): string {
  return `${OUTCOMES[outcome]}: ${reason ?? "no reason known"}`;
}
