/** Watchpoints on real threads: a race that happens is seen from both sides, correct code is left alone. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runStress } from "../../../src/engines/stress/engine.ts";
import { planStress } from "../../../src/engines/stress/plan.ts";
import { createWatchTable, WatchedMemory, watchpointsSet } from "../../../src/engines/stress/watchpoints.ts";
import { DomainCell } from "../../../src/memory/domain-area.ts";
import { layOut } from "../../../src/memory/layout.ts";
import { SharedMemory } from "../../../src/memory/shared-memory.ts";
import type { StressResult } from "../../../src/report/types.ts";

const OWN = (name: string): string => join(import.meta.dirname, "scenarios", `${name}.ts`);

async function run(scenario: string, watch: string): Promise<StressResult> {
  return runStress(await planStress({ scenario, watch, vcpus: "2", ops: "60000", seed: "1" }));
}

test("a cell that is written without its lock is reported, with the places and the cell", async () => {
  const { violations, watch } = await run(OWN("races"), "heavy");
  expect(watch?.mode).toBe("heavy");
  const races = violations.filter(({ check }) => check === "race");
  expect(races.length).toBeGreaterThan(0);
  for (const { message } of races)
    expect(message).toMatch(
      /^vCPU [01] in .*\(races\.ts:\d+\) (?:reads|writes) domain nextVictim, which the paging lock guards, while /,
    );
});

test("the same run without watchpoints does not show it", async () => {
  const { violations, watch } = await run(OWN("races"), "off");
  expect([violations, watch]).toEqual([[], null]);
});

test.each(["light", "heavy"])(
  "%s watchpoints find nothing in a correct machine, and say what they cost",
  async (mode) => {
    const { violations, watch } = await run("map-unmap-shootdown", mode);
    expect(violations).toEqual([]);
    expect(watch?.watchpoints).toBeGreaterThan(0);
    expect(watch?.overhead).toBeGreaterThan(0);
  },
);

test("a mode that there is not is refused", async () => {
  await expect(planStress({ scenario: OWN("races"), watch: "some" })).rejects.toThrow(
    '--watch wants off, light or heavy, got "some"',
  );
});

describe("a vCPU that comes by a watched cell", () => {
  const layout = layOut({
    vcpus: 2,
    frames: 8,
    ramPages: 4,
    tlbSets: 1,
    tlbWays: 1,
    structureCacheEntries: 0,
  });
  const cell = layout.regions.domain.offset + DomainCell.poolFree;
  const { handle } = SharedMemory.create(layout.words);

  /** vCPU 1's view, while vCPU `other` watches the cell for a read or a write. */
  function meeting(other: number, watchesWrite: boolean): { memory: WatchedMemory; told: string[] } {
    const table = createWatchTable("light");
    const told: string[] = [];
    const memory = new WatchedMemory(handle, layout, table, 1);
    memory.tell = (message) => told.push(message);
    const slot = (cell & 255) * 4;
    table.words.set([cell + 1, (other << 1) | (watchesWrite ? 1 : 0), 0], slot);
    expect(watchpointsSet(table)).toBe(0);
    return { memory, told };
  }

  test.each([
    { other: 0, watchesWrite: true, isWrite: false, times: 1 },
    { other: 0, watchesWrite: false, isWrite: true, times: 1 },
    { other: 0, watchesWrite: false, isWrite: false, times: 0 },
    { other: 1, watchesWrite: true, isWrite: true, times: 0 },
  ])(
    "reports $times: watched by vCPU $other, write $watchesWrite; comes to write $isWrite",
    ({ times, ...given }) => {
      const { memory, told } = meeting(given.other, given.watchesWrite);
      if (given.isWrite) memory.storeGuarded(cell, 1);
      else memory.loadGuarded(cell);
      expect(told.length).toBe(times);
    },
  );
});
