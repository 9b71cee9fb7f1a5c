/**
 * The guest kernel on a real machine, against a model of its user memory that knows nothing of pagetables: what each page
 * of each process holds. Operations are few and pages fewer, so that everything meets everything.
 */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { PERSONALITIES } from "../../src/guest/kernel/address-map.ts";
import { KERNEL_SPACE } from "../../src/guest/kernel/address-spaces.ts";
import { SpaceWord } from "../../src/guest/kernel/image.ts";
import type { Kernel } from "../../src/guest/kernel/kernel.ts";
import { GUEST_FORMATS } from "../../src/guest/scenario.ts";
import { GuestMachine } from "./guest-machine.ts";

const DATA = 0x003f_f000;
const PAGES = 4;
const PAGE = 4096;
const everyKernel = GUEST_FORMATS.flatMap((format) =>
  PERSONALITIES.map((personality) => ({ format, personality })),
);

const page = fc.nat(PAGES - 1);
const slot = fc.nat(2).map((index) => index * 7);
const operations = fc.oneof(
  fc.record({ kind: fc.constant("store" as const), page, slot }),
  fc.record({ kind: fc.constant("load" as const), page, slot }),
  fc.record({
    kind: fc.constantFrom("unmap" as const, "protect" as const, "move" as const, "harvest" as const),
    page,
  }),
  fc.record({ kind: fc.constantFrom("fork" as const, "next" as const, "exit" as const, "exec" as const) }),
);

type Operation = typeof operations extends fc.Arbitrary<infer Each> ? Each : never;
type Process = { readonly space: number; readonly words: Map<string, number> };

/** Applies operations to a kernel and to the model, and compares what is loaded. */
class Machine {
  /** Loads that did not return what was stored. */
  readonly wrong: Operation[] = [];
  readonly #kernel: Kernel;
  #processes: Process[] = [];
  #stores = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#spawn();
  }

  apply(operation: Operation): void {
    const { cpu, memory } = this.#kernel;
    const [current] = this.#processes;
    if (current === undefined) throw new Error("there is always a process");
    const address = "page" in operation ? DATA + operation.page * PAGE : 0;
    switch (operation.kind) {
      case "store":
        cpu.store32(address + operation.slot * 256, ++this.#stores);
        current.words.set(`${String(operation.page)} ${String(operation.slot)}`, this.#stores);
        break;
      case "load": {
        const wanted = current.words.get(`${String(operation.page)} ${String(operation.slot)}`) ?? 0;
        if (cpu.load32(address + operation.slot * 256) !== wanted) this.wrong.push(operation);
        break;
      }
      case "unmap":
        memory.unmapPages(address, 1);
        for (const key of current.words.keys()) {
          if (key.startsWith(`${String(operation.page)} `)) current.words.delete(key);
        }
        break;
      case "protect":
        memory.protectPages(address, 1);
        break;
      case "move":
        memory.movePage(address);
        break;
      case "harvest":
        memory.harvestAccess(address);
        break;
      case "fork":
      case "next":
      case "exit":
      case "exec":
        this.#applyToProcesses(operation.kind, current);
    }
  }

  /** Ends all processes. */
  end(): void {
    while (this.#processes.length > 0) this.#exit();
  }

  #applyToProcesses(kind: "fork" | "next" | "exit" | "exec", current: Process): void {
    const { memory, spaces } = this.#kernel;
    if (kind === "fork") {
      const space = memory.forkSpace();
      if (space !== KERNEL_SPACE) this.#processes.push({ space, words: new Map(current.words) });
    } else if (kind === "next") {
      this.#processes = [...this.#processes.slice(1), current];
      spaces.switchTo(this.#processes[0]?.space ?? 0);
    } else if (kind === "exit") {
      this.#exit();
      if (this.#processes.length === 0) this.#spawn();
    } else {
      memory.unmapWithTables(this.#kernel.area(0));
      current.words.clear();
    }
  }

  #spawn(): void {
    this.#processes.push({ space: this.#kernel.enterNewSpace(), words: new Map() });
  }

  #exit(): void {
    this.#kernel.exitSpace();
    this.#processes.shift();
    const [next] = this.#processes;
    if (next !== undefined) this.#kernel.spaces.switchTo(next.space);
  }
}

it.each(everyKernel)(
  "gives processes of a $format guest with a $personality the memory they expect",
  (each) => {
    fc.assert(
      fc.property(fc.array(operations, { maxLength: 60 }), fc.nat(1000), (list, seed) => {
        const guest = new GuestMachine({ format: each.format, seed, config: { ramPages: 512 } });
        const kernel = guest.start({
          personality: each.personality,
          spacesMax: 5,
          areas: [{ start: DATA, pages: PAGES }],
        });
        const before = freePages(kernel, guest);
        const machine = new Machine(kernel);
        for (const operation of list) machine.apply(operation);
        expect(machine.wrong).toEqual([]);
        machine.end();
        kernel.pages.giveAll();
        expect(guest.findings).toEqual([]);
        expect(freePages(kernel, guest)).toBe(before);
        for (let space = 1; space < kernel.image.spacesMax; space++) {
          const users = kernel.image.spaces + 128 * space + SpaceWord.users;
          expect(guest.ram.readWord(users)).toBe(0);
        }
      }),
      { numRuns: 25 },
    );
  },
);

/** Pages on the common list or never used. */
function freePages({ image }: Kernel, { ram }: GuestMachine): number {
  let free = ram.readWord(image.globals + 16) - ram.readWord(image.globals + 12);
  for (let frame = ram.readWord(image.globals + 8); frame !== 0; free++) {
    frame = ram.readWord(image.pageNext + 4 * frame);
  }
  return free;
}

it.each(everyKernel)(
  "shares one table among processes, and large pages ($format, $personality)",
  ({ format, personality }) => {
    const guest = new GuestMachine({ format, config: { ramPages: 3072 } });
    const { largePageBytes } = guest.loader.tables().format;
    const pages = largePageBytes / PAGE;
    const firstFrame = guest.loader.consecutivePages(pages, pages);
    const kernel = guest.start({
      personality,
      areas: [{ start: 4 * largePageBytes, pages, backing: "object", firstFrame, isLarge: true }],
    });
    for (let process = 0; process < 3; process++) {
      kernel.enterNewSpace();
      for (let at = 0; at < pages; at += 37) {
        const address = 4 * largePageBytes + at * PAGE;
        expect(guest.cpu.load32(address)).toBe(process === 0 ? 0 : at + process - 1);
        guest.cpu.store32(address, at + process);
        expect(guest.ram.readWord((firstFrame + at) * PAGE)).toBe(at + process);
      }
    }
    expect(guest.findings).toEqual([]);
  },
);

it("writes PAE entries in two halves, the present bit last in and first out", () => {
  const guest = new GuestMachine({ format: "pae" });
  const kernel = guest.start({ personality: "one-to-one", dataWords: 4, areas: [] });
  const entry = kernel.dataAddress(0);
  const stores: string[] = [];
  const { vcpu } = guest.cpu;
  const store = vcpu.store.bind(vcpu);
  vcpu.store = (low, high, size, valueLow, valueHigh) => {
    stores.push(`${String((low - entry) | 0)} ${String(size)} ${String(valueLow)}`);
    return store(low, high, size, valueLow, valueHigh);
  };
  kernel.entries.writeEntry(entry, 0x5007, 8);
  kernel.entries.writeEntry(entry, 0, 0);
  expect(stores).toEqual(["4 4 8", "0 4 20487", "0 4 0", "4 4 0"]);
});

it("tells what it finds in a page where nobody stores", () => {
  const guest = new GuestMachine({ format: "pae" });
  const kernel = guest.start({ personality: "one-to-one", areas: [{ start: DATA, pages: 1 }] });
  for (let frame = guest.ram.readWord(kernel.image.globals + 12); frame < guest.ram.pages; frame++) {
    for (let at = 8; at < PAGE; at += 8) {
      if (at % 256 !== 0) guest.ram.writeWord(frame * PAGE + at, 0x5a5a);
    }
  }
  kernel.enterNewSpace();
  guest.cpu.store32(DATA, 1);
  expect(guest.findings[0]).toMatch(/^memory: frame \d+ holds 23130 at byte \d+, where nobody stores$/);
});
