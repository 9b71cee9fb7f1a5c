/** The scenario's own check: what has not arrived is told, word by word, and nothing is when marks are as they should be. */
import { describe, expect, test } from "vitest";
import scenario from "../../scenarios/live-migration.ts";
import type { MemoryType, Toolstack } from "../../src/guest/ports.ts";
import { MEMORY_TYPES } from "../../src/hypervisor/p2m-type.ts";
import { DomctlAnswer } from "../../src/memory/domain-area.ts";
import { USER_PAGE } from "../hypervisor/guest-tables.ts";
import { TestMachine } from "../hypervisor/test-machine.ts";

const ADDRESS = 0x1000_0000n;
const PAGE = 0x80;
const PAGES = 4;
const RAM_PAGES = 256;

/** The toolstack of a machine whose vCPU stores whenever it is let run; each migration is the only one. */
class OneMigration implements Toolstack {
  readonly told: string[] = [];
  readonly #machine: TestMachine;
  #migrations = 0;
  #stores = 0;

  constructor(machine: TestMachine) {
    this.#machine = machine;
  }

  running(): boolean {
    this.#migrations++;
    return this.#migrations === 1;
  }
  letRun(): void {
    for (let page = 0; page < PAGES; page++) {
      this.#stores++;
      this.#machine.cpu.write(ADDRESS + BigInt(page * 4096), BigInt(this.#stores));
    }
  }
  enableLogDirty(): number {
    return this.#machine.toolstack.dirty.enable();
  }
  disableLogDirty(): number {
    return this.#machine.toolstack.dirty.disable();
  }
  harvestDirty(bitmap: Int32Array, isPaused: boolean): number {
    const { dirty } = this.#machine.toolstack;
    return isPaused ? dirty.clean(bitmap) : dirty.cleanRunning(bitmap);
  }
  peekDirty(bitmap: Int32Array): number {
    return this.#machine.toolstack.dirty.peek(bitmap);
  }
  trackVram(first: number, pages: number, bitmap: Int32Array, milliseconds: number): number {
    return this.#machine.toolstack.vram.track(first, pages, bitmap, milliseconds);
  }
  pauseDomain(): void {
    this.#machine.toolstack.pause.pause();
  }
  unpauseDomain(): void {
    this.#machine.toolstack.pause.unpause();
  }
  readPage(gfn: number, into: Int32Array, at: number, words: number): boolean {
    return this.#machine.toolstack.readPage(gfn, into, at, words);
  }
  violation(check: string, message: string): void {
    this.told.push(`${check}: ${message}`);
  }
  removePage(gfn: number): void {
    this.#machine.toolstack.removePage(gfn);
  }
  addPage(gfn: number): boolean {
    return this.#machine.toolstack.addPage(gfn);
  }
  movePage(gfn: number): boolean {
    return this.#machine.toolstack.movePage(gfn);
  }
  setPageType(gfn: number, type: MemoryType): boolean {
    return this.#machine.toolstack.types.setType(gfn, MEMORY_TYPES[type]);
  }
  populateOnDemand(gfn: number): boolean {
    return this.#machine.toolstack.types.populateOnDemand(gfn);
  }
  mapDevice(gfn: number): boolean {
    return this.#machine.toolstack.types.mapDevice(gfn);
  }
  nominatePage(gfn: number): boolean {
    return this.#machine.toolstack.types.nominate(gfn);
  }
  evictPage(gfn: number): boolean {
    return this.#machine.toolstack.types.evict(gfn);
  }
  requestedPage(): number {
    return this.#machine.toolstack.types.request();
  }
  loadPage(gfn: number, from: Int32Array, at: number, words: number): boolean {
    return this.#machine.toolstack.types.load(gfn, { words: from, at, count: words });
  }
  setAllocation(pages: number): number {
    return this.#machine.toolstack.setAllocation(pages);
  }
  allocation(): number {
    return this.#machine.toolstack.allocation();
  }
  deviceWrite(address: number, value: number): void {
    this.#machine.toolstack.deviceWrite(address, value);
  }
  destroy(): void {
    this.#machine.toolstack.beginDestroy();
  }
  random(): number {
    return 0;
  }
}

/** What a migration of a machine tells, and the machine. */
function migrate(harvest: string, spoil: (machine: TestMachine) => void): string[] {
  const machine = new TestMachine({ levels: 4, ramPages: RAM_PAGES, poolPages: 300 });
  for (let page = 0; page < PAGES; page++)
    machine.tables.map(ADDRESS + BigInt(page * 4096), PAGE + page, USER_PAGE);
  machine.cpu.boot();
  spoil(machine);
  const toolstack = new OneMigration(machine);
  const shared: unknown = { file: PAGE, balloon: 0xf0, ramPages: RAM_PAGES };
  const options = { ...scenario.options, harvest, pages: PAGES };
  scenario.toolstack?.(toolstack, shared as Parameters<NonNullable<typeof scenario.toolstack>>[1], options);
  expect(machine.toolstack.dirty.disable()).toBe(DomctlAnswer.wrongMode);
  return toolstack.told;
}

describe.each(["paused", "running"])("with harvests of a domain that is %s", (harvest) => {
  test("everything arrives", () => {
    expect(migrate(harvest, () => undefined)).toEqual([]);
  });

  test("pages whose marks were forgotten are told", () => {
    const told = migrate(harvest, ({ shadow }) => {
      shadow.logDirty.markPage = (gfn) => {
        expect(gfn).toBeGreaterThanOrEqual(0);
      };
    });
    expect(told).toEqual(
      Array.from({ length: PAGES }, (_, page) => {
        const gfn = (PAGE + page).toString(16);
        return expect.stringMatching(
          `^dirty: word 0 of gfn 0x${gfn} was migrated as 0x0 and is 0x[0-9a-f]+$`,
        );
      }),
    );
  });
});
