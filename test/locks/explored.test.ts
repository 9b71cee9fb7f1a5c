/** Kinds of lock under the explorer, with threads that sleep until they are woken. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, test } from "vitest";
import type { GateAnswer, GateOrder } from "./gate-explorer.ts";

const worker = new Worker(new URL("gate-explorer.ts", import.meta.url), {
  execArgv: ["--disable-warning=ExperimentalWarning"],
});
afterAll(async () => worker.terminate());

async function explore(order: GateOrder): Promise<GateAnswer> {
  const reply = once(worker, "message");
  worker.postMessage(order);
  const [answer] = (await reply) as [GateAnswer];
  return answer;
}

/** Three visitors, each twice: executions by chance. */
const CROWD = { visitors: 3, visits: 2, strategy: "random", executionsMax: 2000 } as const;

describe.each([
  { kind: "test-and-set", isFair: false },
  { kind: "ticket", isFair: true },
  { kind: "mcs", isFair: true },
  { kind: "futex", isFair: false },
] as const)("a $kind lock", ({ kind, isFair }) => {
  test("lets one in at a time and forgets nobody, in every order of two that come once", async () => {
    const { isExhausted, wrong } = await explore({
      kind,
      visitors: 2,
      visits: 1,
      strategy: "dpor",
      executionsMax: 200_000,
    });
    expect({ isExhausted, wrong }).toEqual({ isExhausted: true, wrong: {} });
  });

  test(`lets three in one at a time and forgets none, ${isFair ? "in" : "not always in"} the order of arrival`, async () => {
    const { wrong, executions, overtaken } = await explore({ kind, ...CROWD });
    expect({ wrong, executions }).toEqual({ wrong: {}, executions: CROWD.executionsMax });
    expect(overtaken === 0).toBe(isFair);
  });
});

describe.each([{ kind: "page" }, { kind: "parts" }] as const)("$kind", ({ kind }) => {
  test("lets in whom it may and forgets nobody, in every order of two that come once", async () => {
    const order = { kind, visitors: 2, visits: 1, strategy: "dpor", executionsMax: 200_000 } as const;
    const { isExhausted, wrong } = await explore(order);
    expect({ isExhausted, wrong }).toEqual({ isExhausted: true, wrong: {} });
  });

  test("and of three that come twice", async () => {
    const { wrong, executions } = await explore({ kind, ...CROWD });
    expect({ wrong, executions }).toEqual({ wrong: {}, executions: CROWD.executionsMax });
  });
});

test.each([
  { kind: "hasty page", says: "two are inside at once" },
  { kind: "hasty part", says: "two are inside at once" },
  { kind: "hasty whole", says: "two are inside at once" },
  { kind: "hasty test-and-set", says: "two are inside at once" },
  { kind: "hasty ticket", says: "two are inside at once" },
  { kind: "hasty mcs", says: "somebody sleeps for ever" },
  { kind: "forgetful futex", says: "somebody sleeps for ever" },
  { kind: "hasty futex", says: "somebody sleeps for ever" },
] as const)("a $kind lock is found out: $says", async ({ kind, says }) => {
  const { wrong } = await explore({ kind, ...CROWD, until: says });
  expect(wrong[says]).toBeGreaterThan(0);
});
