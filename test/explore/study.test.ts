/** Failures of small programs, minimised and explained. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import type { StudyAnswer, StudyOrder } from "./study-worker.ts";

async function study(workerData: StudyOrder): Promise<StudyAnswer> {
  const worker = new Worker(new URL("study-worker.ts", import.meta.url), { workerData });
  try {
    const [answer] = (await once(worker, "message")) as [StudyAnswer];
    return answer;
  } finally {
    await worker.terminate();
  }
}

/** The required orders, each as the sites of its two steps. */
function orderedSites({ studied: { orders, trace } }: StudyAnswer): string[] {
  const place = (step: number): string => {
    const row = trace[step - 1];
    return `${row?.within ?? ""} ${row?.action ?? ""} ${row?.object ?? ""}`;
  };
  return orders.map(({ first, second }) => `${place(first)} < ${place(second)}`);
}

describe.each([1, 2, 3])("found by seed %i", (seed) => {
  test("a deadlock of two locks needs each thread to have its first lock before the other asks for it", async () => {
    const answer = await study({ file: "deadlock", program: "deadlock01", seed });
    expect(answer).toMatchObject({ failsAgain: true, isMinimal: true, studied: { key: "deadlock" } });
    expect(answer.studied.after.preemptions).toBeLessThanOrEqual(answer.studied.before.preemptions);
    expect(orderedSites(answer).toSorted()).toEqual([
      "downwards enterLock cell 2049 < upwards enterLock cell 2049",
      "upwards enterLock cell 2048 < downwards enterLock cell 2048",
    ]);
    expect(answer.studied.trace.filter(({ isPending }) => isPending).length).toBeGreaterThanOrEqual(2);
  });

  test("an atomicity bug needs one switch between the test and the use", async () => {
    const answer = await study({ file: "bluetooth-driver", program: "bluetooth", seed });
    expect(answer).toMatchObject({ failsAgain: true, isMinimal: true });
    expect(answer.studied.after.preemptions).toBe(1);
    // The request looks at the flag before it is set, and at the driver's end after it.
    const sites = orderedSites(answer);
    expect(sites).toContain("bluetooth loadWord cell 0 < stop storeWord cell 0");
    expect(sites).toContain("stop storeWord cell 2 < bluetooth loadWord cell 2");
  });

  test("a reader between two writes needs no more than two preemptions", async () => {
    const answer = await study({ file: "reorder", program: "reorder3", seed });
    expect(answer).toMatchObject({ failsAgain: true, isMinimal: true, studied: { key: "assertion" } });
    expect(answer.studied.after.preemptions).toBeLessThanOrEqual(2);
    expect(answer.studied.orders.length).toBeGreaterThanOrEqual(2);
  });
});
