/** One of two threads that wait for each other in turn. What it does is in its `workerData`. */
import { parentPort, workerData } from "node:worker_threads";
import { layOut } from "../../src/memory/layout.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import type { SharedMemoryHandle } from "../../src/memory/shared-memory.ts";
import { vcpuId } from "../../src/memory/units.ts";
import { Doorbell, VcpuCell, vcpuArea } from "../../src/memory/vcpu-area.ts";
import { Waiter, ring, wake } from "../../src/memory/wait.ts";

/** What a player is told. */
export interface PingPong {
  readonly handle: SharedMemoryHandle;
  readonly player: 0 | 1;
  readonly rounds: number;
  /** How the other is woken; `silently` is the planted fault: not at all. */
  readonly by: "wake" | "ring" | "silently";
  /** How long a sleep may last before it counts as a wakeup that was lost. */
  readonly limitMillis: number;
}

/** What a player reports. */
export interface Played {
  /** Sleeps that ended only because their time was up. */
  readonly lost: number;
  readonly sleeps: number;
}

/** A machine's memory with two vCPUs and little else. */
export const LAYOUT = layOut({
  vcpus: 2,
  frames: 1,
  ramPages: 1,
  tlbSets: 1,
  tlbWays: 1,
  structureCacheEntries: 0,
});
/** Wait pairs: the number of turns that each player has had; and the gate. */
export const TURNS = [LAYOUT.regions.control.offset + 16, LAYOUT.regions.control.offset + 20] as const;
export const GATE = LAYOUT.regions.control.offset + 24;

function play({ handle, player, rounds, by, limitMillis }: PingPong): Played {
  const memory = SharedMemory.attach(handle);
  const me = vcpuArea(LAYOUT, vcpuId(player));
  const other = vcpuArea(LAYOUT, vcpuId(1 - player));
  const waiter = new Waiter(memory, me);
  const [mine, theirs] = player === 0 ? TURNS : [TURNS[1], TURNS[0]];
  let lost = 0;
  let sleeps = 0;
  const wait = Atomics.wait.bind(Atomics);
  // Without the time limit that bounds the harm of a lost wakeup, so that one is seen.
  const sleep = (view: Int32Array, cell: number, value: number): ReturnType<typeof Atomics.wait> => {
    sleeps++;
    const result = wait(view, cell, value, limitMillis);
    if (result === "timed-out") lost++;
    return result;
  };
  Object.assign(Atomics, { wait: sleep });
  memory.addWord(GATE, 1);
  while (memory.loadWord(GATE) !== 2) Atomics.pause();
  for (let round = 1; round <= rounds; round++) {
    const due = player === 0 ? round - 1 : round;
    for (let seen = memory.loadWord(theirs); seen < due; seen = memory.loadWord(theirs)) {
      waiter.waitWhile(theirs, seen);
      memory.andWord(me + VcpuCell.doorbell, ~Doorbell.flush);
    }
    // Only a sleeper can be forgotten, and whoever is served while it spins never sleeps. After the last turn nobody waits.
    if (by === "silently" && (player === 0 || round < rounds)) letSleep(memory, mine);
    memory.storeWord(mine, round);
    if (by === "wake") wake(memory, mine);
    else if (by === "ring") ring(memory, other, Doorbell.flush);
  }
  return { lost, sleeps };
}

/** Gives whoever will wait on the cell the time to fall asleep on it. */
function letSleep(memory: SharedMemory, cell: number): void {
  while (memory.loadWord(cell + 1) === 0) Atomics.pause();
  const moment = Int32Array.of(0);
  for (let spin = 0; spin < 100_000; spin++) Atomics.add(moment, 0, 1);
}

if (parentPort !== null) parentPort.postMessage(play(workerData as PingPong));
