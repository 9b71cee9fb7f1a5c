import {
  Cr0,
  Cr4,
  Efer,
  EntryFlag,
  FaultCode,
  Stamps,
  Status,
  defineScenario,
  hex,
  ledgerWords,
  lostStamps,
} from "umbra";
import type { Cpu, GuestFormat, Loader } from "umbra";

const PAGE = 4096;
const LARGE = 0x1000_0000;
const READ_ONLY = 0x1800_0000;
const ALIAS = 0x2000_0000;
const RAM_PAGES = 2048;
const USER = EntryFlag.user;
const USER_WRITABLE = EntryFlag.user | EntryFlag.writable;

/** Ways to run that a vCPU of a format changes between. */
const MODES: Readonly<Record<GuestFormat, readonly Mode[]>> = {
  "2level": ["off", "2level"],
  pae: ["off", "2level", "pae"],
  "4level": ["off", "2level", "pae", "4level"],
};

type Mode = "off" | GuestFormat;

/** What all vCPUs work on: identity maps in every format, and some pages once more at other addresses. */
interface Shared {
  readonly data: number;
  readonly ledger: number;
  readonly roots: Readonly<Record<GuestFormat, number>>;
  /** Physical addresses of the level 1 entries that map the vCPUs' aliases: of the first, in either size of entry. */
  readonly aliases: { readonly narrow: number; readonly wide: number };
}

/**
 * All memory is mapped one to one, so an address means the same with paging off and in every format, and vCPUs in
 * different modes use, and write, the same pages and the same tables. PAE and 4-level roots share their lower tables, so
 * one page is shadowed as two types.
 */
export default defineScenario({
  name: "mode-switches",
  about: "vCPUs switch paging, PAE, long mode, PSE, WP, SMEP and SMAP while others use the same tables",
  slide: "modes: spec 1.5, 1.6, 10.2 to 10.4; emulation without WP: 4.9; shadows of several types: 20.65",
  guests: ["2level", "pae", "4level"],
  vcpus: { min: 1, max: 16, default: 3 },
  options: { pages: 12 },
  machine: { ramPages: RAM_PAGES },

  boot(loader, { pages }) {
    const data = loader.consecutivePages(pages) * PAGE;
    const ledgerPages = Math.ceil((4 * ledgerWords(pages)) / PAGE);
    const ledger = loader.consecutivePages(ledgerPages) * PAGE;
    return { ledger, data, ...buildTables(loader, data, pages) };
  },

  programs: [
    function switcher(cpu, shared, { pages }) {
      const stamps = new Stamps(cpu, shared.ledger, pages);
      const modes = MODES[cpu.format];
      const alias = ALIAS + cpu.id * PAGE;
      while (cpu.running()) {
        const mode = modes[cpu.random(modes.length)] ?? "off";
        enterMode(cpu, mode, shared);
        for (let touch = 0; touch < 8; touch++) {
          const page = cpu.random(pages);
          stamps.stampPage(shared.data + page * PAGE, page);
          const other = cpu.random(pages);
          const views = mode === "off" ? 1 : 3;
          const base = [shared.data, READ_ONLY, LARGE + shared.data][cpu.random(views)] ?? shared.data;
          stamps.checkPage(base + other * PAGE, other);
        }
        const shown = cpu.random(pages);
        pointAlias(cpu, shared, shared.data + shown * PAGE, mode);
        if (mode === "off") continue;
        stamps.stampPage(alias, shown);
        stamps.checkPage(alias, shown);
        if (mode === "2level" && cpu.oneIn(4)) cpu.writeCr4(cpu.readCr4() ^ Cr4.pge);
        if (cpu.oneIn(4)) writeWithoutWp(cpu, stamps, cpu.random(pages));
        if (cpu.oneIn(4)) checkSupervisorGuards(cpu, shared.data);
      }
    },
  ],

  holds(machine, { data, ledger }, { pages }) {
    return lostStamps(machine, { firstFrame: data / PAGE, pages, ledger });
  },

  small: { vcpus: 2, options: { pages: 1 } },
});

function buildTables(loader: Loader, data: number, pages: number): Pick<Shared, "roots" | "aliases"> {
  const narrow = loader.tables("2level");
  const wide = loader.tables("pae");
  const roots = {
    "2level": narrow.newRoot(),
    pae: wide.newRoot(),
    "4level": loader.tables("4level").newRoot(),
  };
  for (const [tables, root] of [
    [narrow, roots["2level"]],
    [wide, roots.pae],
  ] as const) {
    for (let frame = 1; frame < loader.ram.pages; frame++) {
      tables.mapPage(root, frame * PAGE, frame, { flags: USER_WRITABLE });
    }
    for (let frame = 0; frame < RAM_PAGES; frame += tables.format.largePageBytes / PAGE) {
      tables.mapLargePage(root, LARGE + frame * PAGE, frame, { flags: USER_WRITABLE });
    }
    for (let page = 0; page < pages; page++) {
      tables.mapPage(root, READ_ONLY + page * PAGE, data / PAGE + page, { flags: USER });
    }
  }
  const aliases = {
    narrow: narrow.entryAddress(roots["2level"], ALIAS, 1),
    wide: wide.entryAddress(roots.pae, ALIAS, 1),
  };
  // Long mode uses the level 2 tables of PAE.
  const long = loader.tables("4level");
  for (let slot = 0; slot < 4; slot++) {
    const level2 = wide.readEntryLow(roots.pae + 8 * slot) >>> 12;
    if (level2 !== 0) long.linkTable(roots["4level"], slot * 2 ** 30, 3, level2);
  }
  return { roots, aliases };
}

/** Changes the mode in the order that processors ask for. Some changes of PSE happen with paging on. */
function enterMode(cpu: Cpu, mode: Mode, { roots }: Shared): void {
  cpu.writeCr0(cpu.readCr0() & ~Cr0.pg);
  if (mode === "off") return;
  const others = cpu.readCr4() & ~(Cr4.pae | Cr4.pse);
  const early = mode === "2level" && cpu.oneIn(2) ? 0 : Cr4.pse;
  cpu.writeCr4(others | (mode === "2level" ? early : Cr4.pae));
  cpu.writeEfer((cpu.readEfer() & ~(Efer.lme | Efer.lma)) | (mode === "4level" ? Efer.lme : 0));
  cpu.loadRoot(roots[mode]);
  cpu.writeCr0(cpu.readCr0() | Cr0.pe | Cr0.wp | Cr0.pg);
  if (mode === "2level" && early === 0) cpu.writeCr4(cpu.readCr4() | Cr4.pse);
}

/** Points this vCPU's alias at a page, by stores to both of its entries through the identity map. */
function pointAlias(cpu: Cpu, { aliases }: Shared, address: number, mode: Mode): void {
  const entry = address | EntryFlag.present | USER_WRITABLE;
  cpu.store32(aliases.narrow + 4 * cpu.id, entry);
  cpu.store64(aliases.wide + 8 * cpu.id, entry, 0);
  if (mode !== "off") cpu.invlpg(ALIAS + cpu.id * PAGE);
}

/** Without WP the kernel writes what is read-only; with it, the same store faults. */
function writeWithoutWp(cpu: Cpu, stamps: Stamps, page: number): void {
  cpu.writeCr0(cpu.readCr0() & ~Cr0.wp);
  stamps.stampPage(READ_ONLY + page * PAGE, page);
  cpu.writeCr0(cpu.readCr0() | Cr0.wp);
  expectFault(cpu, cpu.tryStore(READ_ONLY + page * PAGE + 8, 4, 0, 0), FaultCode.present | FaultCode.write);
  stamps.checkPage(READ_ONLY + page * PAGE, page);
}

/** Every page is a user's, so with SMEP the kernel cannot execute it, and with SMAP not read it but under STAC. */
function checkSupervisorGuards(cpu: Cpu, address: number): void {
  const before = cpu.readCr4();
  cpu.writeCr4(before | Cr4.smep);
  expectFault(cpu, cpu.tryFetch(address, 4), FaultCode.present | FaultCode.fetch);
  cpu.writeCr4(before | Cr4.smap);
  expectFault(cpu, cpu.tryLoad(address, 4), FaultCode.present);
  cpu.allowUserAccess(true);
  const status = cpu.tryLoad(address, 4);
  cpu.allowUserAccess(false);
  cpu.writeCr4(before);
  if (status !== Status.done) cpu.violation("translation", "SMAP refuses a load that EFLAGS.AC allows");
  if (cpu.tryFetch(address, 4) !== Status.done)
    cpu.violation("translation", "a fetch is refused without SMEP");
}

function expectFault(cpu: Cpu, status: number, errorCode: number): void {
  const seen = cpu.vcpu.faultErrorCode;
  if (status === Status.pageFault && seen === errorCode) return;
  const got = status === Status.pageFault ? `error code ${hex(seen)}` : "no fault";
  cpu.violation("translation", `an access that must fault with error code ${hex(errorCode)} got ${got}`);
}
