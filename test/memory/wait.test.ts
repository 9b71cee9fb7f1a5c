/** Waiting, waking and ringing between real threads. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { Doorbell, VcpuCell, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { Waiter, ring, wake } from "../../src/memory/wait.ts";
import { LAYOUT, TURNS } from "./ping-pong.ts";
import type { Played, PingPong } from "./ping-pong.ts";

/** Lets two threads take turns, and says how often a sleeper was forgotten. */
async function takeTurns(
  task: Omit<PingPong, "handle" | "player">,
): Promise<{ lost: number; turns: number[] }> {
  const memory = SharedMemory.create(LAYOUT.words);
  const workers = ([0, 1] as const).map((player) => {
    const workerData: PingPong = { handle: memory.handle, player, ...task };
    return new Worker(new URL("ping-pong.ts", import.meta.url), { workerData });
  });
  try {
    const played = await Promise.all(workers.map(async (worker) => once(worker, "message")));
    const lost = played.reduce((sum, [result]) => sum + (result as Played).lost, 0);
    return { lost, turns: TURNS.map((cell) => memory.loadWord(cell)) };
  } finally {
    await Promise.all(workers.map(async (worker) => worker.terminate()));
  }
}

describe("two threads that wait for each other in turn", () => {
  test("lose no wakeup in 20,000 turns", async () => {
    const { lost, turns } = await takeTurns({ rounds: 20_000, by: "wake", limitMillis: 20_000 });
    expect({ lost, turns }).toEqual({ lost: 0, turns: [20_000, 20_000] });
  });

  test("get on when the doorbell wakes them, of which a few may go unheard", async () => {
    const { turns } = await takeTurns({ rounds: 2000, by: "ring", limitMillis: 1 });
    expect(turns).toEqual([2000, 2000]);
  });

  test("are seen to sleep through it when nobody wakes them", async () => {
    const { lost, turns } = await takeTurns({ rounds: 20, by: "silently", limitMillis: 5 });
    expect(turns).toEqual([20, 20]);
    expect(lost).toBeGreaterThan(0);
  });
});

describe("a waiter", () => {
  const memory = SharedMemory.create(LAYOUT.words);
  const area = vcpuArea(LAYOUT, vcpuId(0));
  const waiter = new Waiter(memory, area);
  const [cell] = TURNS;

  test("returns at once when the cell holds something else, or a flush is asked for", () => {
    memory.storeWord(cell, 1);
    waiter.waitWhile(cell, 0);
    ring(memory, area, Doorbell.flush);
    waiter.waitWhile(cell, 1);
    expect(memory.loadWord(area + VcpuCell.doorbell)).toBe(Doorbell.flush);
    memory.storeWord(area + VcpuCell.doorbell, 0);
  });

  test("returns after a while in any case, and is then no sleeper any more", () => {
    ring(memory, area, Doorbell.park);
    waiter.waitWhile(cell, memory.loadWord(cell));
    expect([memory.loadWord(cell + 1), memory.loadWord(area + VcpuCell.sleepsOn)]).toEqual([0, 0]);
    memory.storeWord(area + VcpuCell.doorbell, 0);
  });

  test("says on which cell it sleeps, and how many do", () => {
    const seen: number[] = [];
    const wait = Atomics.wait.bind(Atomics);
    Atomics.wait = (): "timed-out" => {
      seen.push(memory.loadWord(cell + 1), memory.loadWord(area + VcpuCell.sleepsOn));
      return "timed-out";
    };
    waiter.waitWhile(cell, memory.loadWord(cell));
    Atomics.wait = wait;
    expect(seen).toEqual([1, cell]);
  });

  test("is not notified when nobody sleeps", () => {
    let notified = 0;
    const notify = Atomics.notify.bind(Atomics);
    Atomics.notify = (): number => ++notified;
    wake(memory, cell);
    ring(memory, area, Doorbell.interrupt);
    memory.addWord(cell + 1, 1);
    wake(memory, cell);
    Atomics.notify = notify;
    memory.addWord(cell + 1, -1);
    expect(notified).toBe(1);
  });
});
