/** Races, lock order and deadlocks in small programs: right ones are silent, wrong ones are named for what they are. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Explorer } from "../explorer.ts";

let explorer: Explorer;
beforeAll(() => {
  explorer = new Explorer();
});
afterAll(async () => {
  await explorer.close();
});

async function found(program: string): Promise<Record<string, string>> {
  const seed = Number(process.env["UMBRA_SEED"]);
  return (await explorer.run({ program, executions: 300, seed })).found;
}

describe("a program that is right", () => {
  test.each(["lockedCounter", "published", "gatedLocks"])("%s", async (program) => {
    expect(await found(program)).toEqual({});
  });
});

describe("a program that is wrong", () => {
  test.each([
    {
      program: "halfLockedCounter",
      key: /^race programs.ts:\d+ programs.ts:\d+ program$/,
      says: /vCPU \d in add\w+ \(programs.ts:\d+\)/,
    },
    {
      program: "publishedLate",
      key: /^race/,
      says: /a plain write of cell 0.*a plain read of cell 0|plain read.*plain write/,
    },
    { program: "mixedSizes", key: /^race/, says: /an atomic write/ },
    { program: "crossedLocks", key: /^lock-graph/, says: /A deadlock is possible: thread \d wants the lock/ },
    {
      program: "crossedLocks",
      key: /^deadlock cycle$/,
      says: /waits for the lock at cell \d+, which is up to thread \d; thread/,
    },
    { program: "crossedLocksInTurn", key: /^lock-graph/, says: /programs.ts:\d+\) while it holds/ },
    { program: "takesTwice", key: /^deadlock self-deadlock$/, says: /which it has itself/ },
    { program: "orphanedLock", key: /^deadlock orphan-lock$/, says: /with which thread \d has ended/ },
    {
      program: "lostSignal",
      key: /^deadlock lost-wakeup$/,
      says: /Nobody is left to wake thread 1 on the condition/,
    },
  ])("$program: $key", async ({ program, key, says }) => {
    const all = Object.entries(await found(program));
    const [, message] = all.find(([each]) => key.test(each)) ?? ["", JSON.stringify(all)];
    expect(message).toMatch(says);
  });

  test("in turn, crossed locks never hang", async () => {
    expect(Object.keys(await found("crossedLocksInTurn"))).toEqual([expect.stringMatching(/^lock-graph/)]);
  });
});
