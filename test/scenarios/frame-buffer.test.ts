/** The scenario's own check: a change that is not told is noticed, and nothing is when tracking is as it should be. */
import { describe, expect, test } from "vitest";
import scenario from "../../scenarios/frame-buffer.ts";
import type { Toolstack } from "../../src/guest/ports.ts";
import { VramTracking } from "../../src/hypervisor/shadow/vram-tracking.ts";
import { USER_PAGE } from "../hypervisor/guest-tables.ts";
import { TestMachine } from "../hypervisor/test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
const PAGES = 4;

/** Forgets D of a mapping that goes. */
class Forgetful extends VramTracking {
  override lose(cell: number, frame: Parameters<VramTracking["lose"]>[1]): void {
    super.lose(cell, frame, false);
  }
}

function refused(): never {
  throw new Error("the scenario does not do this");
}

/** The toolstack of a machine whose vCPU draws, and takes mappings away, whenever it is let run; it ends after one round. */
function oneRound(machine: TestMachine, violations: string[]): Toolstack {
  let rounds = 0;
  let value = 0;
  const entry = (page: number): number => machine.tables.entryAt(ADDRESS + BigInt(page * 4096), 1);
  const { toolstack, cpu } = machine;
  return {
    running: () => {
      rounds++;
      return rounds === 1;
    },
    letRun: () => {
      for (let page = 0; page < PAGES; page++) cpu.write(ADDRESS + BigInt(page * 4096), BigInt(++value));
    },
    pauseDomain: () => {
      // The last thing that the guest does is to draw, and to take the mapping away.
      cpu.write(ADDRESS, BigInt(++value));
      cpu.writeEntry(entry(0), 0n);
      toolstack.pause.pause();
    },
    unpauseDomain: () => {
      toolstack.pause.unpause();
    },
    trackVram: (...call) => toolstack.vram.track(...call),
    readPage: (...call) => toolstack.readPage(...call),
    deviceWrite: () => undefined,
    violation: (check, message) => {
      violations.push(`${check}: ${message}`);
    },
    random: () => 0,
    movePage: refused,
    removePage: refused,
    addPage: refused,
    setAllocation: refused,
    allocation: refused,
    enableLogDirty: refused,
    disableLogDirty: refused,
    harvestDirty: refused,
    peekDirty: refused,
    setPageType: refused,
    populateOnDemand: refused,
    mapDevice: refused,
    nominatePage: refused,
    evictPage: refused,
    requestedPage: refused,
    loadPage: refused,
    destroy: refused,
  };
}

function told(change: (machine: TestMachine) => void): string[] {
  const machine = new TestMachine({ levels: 4, poolPages: 300 });
  for (let page = 0; page < PAGES; page++)
    machine.tables.map(ADDRESS + BigInt(page * 4096), PAGE + page, USER_PAGE);
  machine.cpu.boot();
  change(machine);
  const violations: string[] = [];
  const { options } = scenario;
  scenario.toolstack?.(
    oneRound(machine, violations),
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of the boot data the display reads these alone
    { kernel: { data: 0x9000 }, screen: PAGE } as Parameters<NonNullable<typeof scenario.toolstack>>[1],
    { ...options, pages: PAGES, stillLooks: 0 },
  );
  return violations;
}

describe("the display", () => {
  test("shows what is there", () => {
    expect(told(() => undefined)).toEqual([]);
  });

  test("finds a page that was drawn to before its mapping went, when that was forgotten", () => {
    const found = told(({ shadow }) => {
      Object.assign(shadow, { vram: new Forgetful(shadow) });
    });
    expect(found).toEqual([
      "dirty: gfn 0x80 is told not to have changed, but its word 0 is shown as 0x15 and is 0x19",
    ]);
  });
});
