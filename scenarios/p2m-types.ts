import { Kernel, PERSONALITIES, SLOT_STRIDE, Stamps, defineScenario, ledgerWords, lostStamps } from "umbra";
import type { Cpu, Toolstack } from "umbra";

const PAGE = 4096;
const FILE = 0x0400_0000;
const BALLOON = 0x0600_0000;
const SEALED = 0x0700_0000;
const DEVICE = 0x0800_0000;
const STATES = 0x0900_0000;
/** Words of a page that are looked at: one for each vCPU, which alone stores there. */
const WORDS = 16;

/** What the toolstack has told of a page, modulo 4: open or shut throughout, or on its way from one to the other. */
const OPEN = 0;
const SHUT = 2;
/** Kinds of steps of the toolstack, which takes them in turn. */
const STEPS = 8;

/** Where everything lies, in guest frames. */
interface Places {
  readonly file: number;
  readonly table: number;
  readonly balloon: number;
  readonly sealed: number;
  readonly device: number;
  readonly states: number;
}

/** How many pages there are of each kind. */
interface Sizes {
  readonly filePages: number;
  readonly balloonPages: number;
  readonly sealedPages: number;
  readonly devicePages: number;
}

/** One vCPU's words in pages that are open or shut: memory that is read-write or read-only, a device that is there or not. */
class SwitchedWords {
  readonly #cpu: Cpu;
  readonly #start: number;
  readonly #firstState: number;
  readonly #isDevice: boolean;
  /** What each page held when it was last looked at; of a device that is not there, what it reads as. */
  readonly #held: Int32Array;
  readonly #emulated: Int32Array;
  readonly #isEmulatedKnown: Uint8Array;
  #next = 0;

  constructor(cpu: Cpu, start: number, pages: number, firstState: number, isDevice: boolean) {
    this.#cpu = cpu;
    this.#start = start;
    this.#firstState = firstState;
    this.#isDevice = isDevice;
    this.#held = new Int32Array(pages);
    this.#emulated = new Int32Array(pages);
    this.#isEmulatedKnown = new Uint8Array(pages);
  }

  /** Stores to a page and looks whether the store landed exactly if it was to. */
  tryPage(page: number): void {
    const cpu = this.#cpu;
    const at = this.#start + page * PAGE + 4 * cpu.id;
    const state = STATES + 4 * (this.#firstState + page);
    this.#next++;
    const stored = this.#next;
    const before = cpu.load32(state);
    cpu.store32(at, stored);
    const found = cpu.load32(at);
    const after = cpu.load32(state);
    const isSteady = before === after && (before & 1) === 0;
    if (this.#isDevice) this.#judgeDevice(page, isSteady ? before & 3 : -1, stored, found);
    else this.#judgeMemory(page, isSteady ? before & 3 : -1, stored, found);
  }

  #judgeMemory(page: number, state: number, stored: number, found: number): void {
    const held = this.#held[page] ?? 0;
    this.#held[page] = found;
    if (found !== held && found !== stored)
      this.#tell(page, `holds ${String(found)}; it held ${String(held)}, then ${String(stored)} was stored`);
    else if (state === OPEN && found !== stored)
      this.#tell(
        page,
        `holds ${String(found)} although ${String(stored)} was stored while it was read-write`,
      );
    else if (state === SHUT && found !== held)
      this.#tell(page, `took ${String(stored)} while it was read-only`);
  }

  #judgeDevice(page: number, state: number, stored: number, found: number): void {
    if (state === OPEN && found !== stored)
      this.#tell(page, `of a device reads ${String(found)} right after ${String(stored)} was stored`);
    if (state !== SHUT) return;
    if (this.#isEmulatedKnown[page] === 1 && found !== this.#emulated[page])
      this.#tell(page, `without a device reads ${String(found)}, and ${String(this.#emulated[page])} before`);
    this.#isEmulatedKnown[page] = 1;
    this.#emulated[page] = found;
  }

  #tell(page: number, what: string): void {
    this.#cpu.violation("memory", `page ${String(page)} of ${this.#start.toString(16)} ${what}`);
  }
}

/** One vCPU's words in pages that become zero at any time, but for no other reason than that. */
class BalloonWords {
  readonly #cpu: Cpu;
  readonly #held: Int32Array;
  #next = 0;

  constructor(cpu: Cpu, pages: number) {
    this.#cpu = cpu;
    this.#held = new Int32Array(pages);
  }

  tryPage(page: number): void {
    const cpu = this.#cpu;
    const at = BALLOON + page * PAGE + 4 * cpu.id;
    this.#next++;
    this.#look(page, cpu.load32(at), this.#held[page] ?? 0);
    if (cpu.oneIn(2)) {
      cpu.store32(at, this.#next);
      this.#look(page, cpu.load32(at), this.#next);
    }
  }

  #look(page: number, found: number, due: number): void {
    this.#held[page] = found;
    if (found === due || found === 0) return;
    const wrong = `balloon page ${String(page)} holds ${String(found)}, and neither ${String(due)} nor zero`;
    this.#cpu.violation("memory", wrong);
  }
}

/** A pager: pages that it took away, and what was in them. */
class Pager {
  readonly #toolstack: Toolstack;
  readonly #gfns: Int32Array;
  readonly #kept: Int32Array;
  readonly #isOut: Uint8Array;
  readonly #words: number;

  constructor(toolstack: Toolstack, { file, table }: Places, filePages: number, words: number) {
    this.#words = words;
    this.#toolstack = toolstack;
    // Behind the pages of the file, the table that maps them.
    this.#gfns = Int32Array.from({ length: filePages + 1 }, (_, page) =>
      page < filePages ? file + page : table,
    );
    this.#kept = new Int32Array(this.#gfns.length * words);
    this.#isOut = new Uint8Array(this.#gfns.length);
  }

  /** A page that can be away. */
  drawGfn(): number {
    return this.#gfns[this.#toolstack.random(this.#gfns.length)] ?? 0;
  }

  /** Copies a page away, unless somebody wants it meanwhile. */
  pageOut(): void {
    const toolstack = this.#toolstack;
    const slot = toolstack.random(this.#gfns.length);
    const gfn = this.#gfns[slot] ?? 0;
    if (!toolstack.nominatePage(gfn)) return;
    toolstack.readPage(gfn, this.#kept, slot * this.#words, this.#words);
    if (toolstack.evictPage(gfn)) this.#isOut[slot] = 1;
    else this.#pageIn(slot);
  }

  /** Brings back whatever somebody waits for. */
  answerAll(): void {
    for (;;) {
      const gfn = this.#toolstack.requestedPage();
      const slot = this.#gfns.indexOf(gfn);
      if (slot < 0 || !this.#pageIn(slot)) return;
    }
  }

  /** Brings everything back: nobody waits for a page after this. */
  close(): void {
    for (let slot = 0; slot < this.#gfns.length; slot++) if (this.#isOut[slot] === 1) this.#pageIn(slot);
    this.answerAll();
  }

  #pageIn(slot: number): boolean {
    const gfn = this.#gfns[slot] ?? 0;
    this.#isOut[slot] = 0;
    return this.#toolstack.loadPage(gfn, this.#kept, slot * this.#words, this.#words);
  }
}

/** Opens and shuts pages, and tells the guest before and after. */
class Switcher {
  readonly #toolstack: Toolstack;
  readonly #places: Places;
  readonly #sealedPages: number;
  readonly #states: Int32Array;
  readonly #seen: Int32Array;
  readonly #now = new Int32Array(WORDS);

  constructor(toolstack: Toolstack, places: Places, { sealedPages, devicePages }: Sizes) {
    this.#toolstack = toolstack;
    this.#places = places;
    this.#sealedPages = sealedPages;
    this.#states = new Int32Array(sealedPages + devicePages);
    this.#seen = new Int32Array(sealedPages * WORDS);
  }

  /** Makes a page read-only, or read-write again. */
  switchMemory(page: number): void {
    const gfn = this.#places.sealed + page;
    const isOpen = (this.#states[page] ?? 0) % 4 === OPEN;
    if (!isOpen) this.#compareShut(gfn, page);
    this.#advance(page);
    this.#toolstack.setPageType(gfn, isOpen ? "read-only" : "read-write");
    this.#advance(page);
    if (isOpen) this.#toolstack.readPage(gfn, this.#seen, page * WORDS, WORDS);
  }

  /** Takes a device away, or puts it back; what lies there first is memory. */
  switchDevice(page: number): void {
    const gfn = this.#places.device + page;
    const state = this.#sealedPages + page;
    const isOpen = (this.#states[state] ?? 0) % 4 === OPEN;
    this.#advance(state);
    if (isOpen) this.#toolstack.removePage(gfn);
    else this.#toolstack.mapDevice(gfn);
    this.#advance(state);
  }

  /** Opens every page of memory that is shut. */
  openAll(): void {
    for (let page = 0; page < this.#sealedPages; page++)
      if ((this.#states[page] ?? 0) % 4 === SHUT) this.switchMemory(page);
  }

  /** Nothing may have landed in a page since it became read-only. */
  #compareShut(gfn: number, page: number): void {
    this.#toolstack.readPage(gfn, this.#now, 0, WORDS);
    for (let word = 0; word < WORDS; word++)
      if (this.#now[word] !== this.#seen[page * WORDS + word])
        this.#toolstack.violation(
          "memory",
          `word ${String(word)} of read-only page ${String(page)} has changed`,
        );
  }

  #advance(state: number): void {
    const now = (this.#states[state] ?? 0) + 1;
    this.#states[state] = now;
    this.#toolstack.deviceWrite(this.#places.states * PAGE + 4 * state, now);
  }
}

/** What the toolstack works with. */
interface Tools {
  readonly toolstack: Toolstack;
  readonly pager: Pager;
  readonly switcher: Switcher;
  readonly places: Places;
  readonly sizes: Sizes;
}

/** One change of some page's type. */
function takeStep(step: number, { toolstack, pager, switcher, places, sizes }: Tools): void {
  if (step === 0) toolstack.setPageType(pager.drawGfn(), "log-dirty");
  else if (step === 1) switcher.switchMemory(toolstack.random(sizes.sealedPages));
  else if (step === 2) pager.pageOut();
  else if (step === 3) toolstack.populateOnDemand(places.balloon + toolstack.random(sizes.balloonPages));
  else if (step === 4) switcher.switchDevice(toolstack.random(sizes.devicePages));
  else if (step === 5) toolstack.setPageType(pager.drawGfn(), "read-write");
  else if (step === 6) pager.pageOut();
  else toolstack.movePage(pager.drawGfn());
}

/**
 * While the guest works, a balloon takes pages that are zero when they are used next, a pager takes pages and brings them
 * back, memory becomes read-only or has its writes noted, and a device's own memory comes and goes. Every word that a vCPU
 * reads must be one that these steps allow; and what was paged out must come back as it was.
 */
export default defineScenario({
  name: "p2m-types",
  about: "a balloon, a pager and devices change the types of pages while vCPUs use them",
  slide: "p2m types: spec 12.5; changes of the p2m and what they unshadow: 12.2",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: WORDS, default: 3 },
  options: {
    map: "one-to-one",
    filePages: 24,
    balloonPages: 8,
    sealedPages: 4,
    devicePages: 2,
    every: 300,
    /** Steps that the toolstack takes at once. */
    steps: 1,
    /** Words of a page that the pager keeps: all that are used. */
    keptWords: 1024,
  },
  choices: { map: PERSONALITIES },
  machine: (vcpus, { filePages, balloonPages, sealedPages, devicePages }) => ({
    ramPages: 448 + filePages + balloonPages + sealedPages + devicePages + 64 * vcpus,
  }),

  boot(loader, { map, filePages, balloonPages, sealedPages, devicePages }) {
    const file = loader.consecutivePages(filePages);
    const balloon = loader.consecutivePages(balloonPages);
    const sealed = loader.consecutivePages(sealedPages);
    const device = loader.consecutivePages(devicePages);
    const states = loader.consecutivePages(1);
    // One table for the file in all address spaces, so that it is shadowed once and used by everybody.
    const tables = loader.tables();
    const table = tables.newTable();
    if (filePages > tables.format.entries) throw new RangeError("the pages of the file must fit one table");
    for (let page = 0; page < filePages; page++) {
      const at = table * PAGE + (((FILE / PAGE) % tables.format.entries) + page) * tables.format.entryBytes;
      tables.writeEntry(at, ((file + page) * PAGE) | 7, 0);
    }
    const kernel = loader.kernel({
      personality: map,
      dataWords: ledgerWords(filePages),
      areas: [
        { start: FILE, pages: filePages, backing: "manual" },
        { start: BALLOON, pages: balloonPages, backing: "object", firstFrame: balloon },
        { start: SEALED, pages: sealedPages, backing: "object", firstFrame: sealed },
        { start: DEVICE, pages: devicePages, backing: "object", firstFrame: device },
        { start: STATES, pages: 1, backing: "object", firstFrame: states, isWritable: false },
      ],
    });
    return { kernel, places: { file, table, balloon, sealed, device, states } };
  },

  programs: [
    function worker(cpu, shared, { filePages, balloonPages, sealedPages, devicePages }) {
      const kernel = Kernel.start(cpu, shared.kernel);
      const stamps = new Stamps(cpu, kernel.dataAddress(0), filePages);
      const balloon = new BalloonWords(cpu, balloonPages);
      const sealed = new SwitchedWords(cpu, SEALED, sealedPages, 0, false);
      const devices = new SwitchedWords(cpu, DEVICE, devicePages, sealedPages, true);
      if (kernel.enterNewSpace() === 0) cpu.panic("guest", "there is no address space");
      kernel.memory.linkTable(FILE, shared.places.table);
      while (cpu.running()) {
        cpu.enterUserMode();
        for (let touch = 0; touch < 6; touch++) {
          const page = cpu.random(filePages);
          stamps.stampPage(FILE + page * PAGE, page);
          const other = cpu.random(filePages);
          stamps.checkPage(FILE + other * PAGE, other);
        }
        balloon.tryPage(cpu.random(balloonPages));
        sealed.tryPage(cpu.random(sealedPages));
        devices.tryPage(cpu.random(devicePages));
        cpu.enterKernelMode();
        if (cpu.oneIn(8)) kernel.memory.unmapPages(BALLOON, balloonPages);
        if (cpu.oneIn(8)) kernel.memory.unmapPages(SEALED, sealedPages);
      }
    },
  ],

  toolstack(toolstack, { places }, options) {
    const { filePages, every, steps, keptWords } = options;
    const pager = new Pager(toolstack, places, filePages, keptWords);
    const switcher = new Switcher(toolstack, places, options);
    for (let count = 0; toolstack.running();) {
      toolstack.letRun(every);
      for (let more = 0; more < steps; more++, count++) {
        pager.answerAll();
        takeStep(count % STEPS, { toolstack, pager, switcher, places, sizes: options });
      }
    }
    switcher.openAll();
    pager.close();
  },

  holds(machine, { kernel, places }, { filePages }) {
    return lostStamps(machine, { firstFrame: places.file, pages: filePages, ledger: kernel.data });
  },

  small: {
    vcpus: 1,
    options: {
      filePages: 1,
      balloonPages: 1,
      sealedPages: 1,
      devicePages: 1,
      every: 1,
      // All but the last, which copies a whole page.
      steps: STEPS - 1,
      // The slots of three vCPUs.
      keptWords: (3 * SLOT_STRIDE) / 4,
    },
    machine: { ramPages: 600 },
  },
});
