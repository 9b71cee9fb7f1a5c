/** Whatever is wrong with what people write: one line that names it, exit code 2, and nothing else. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { umbra } from "./umbra.ts";

const PAE = "scenarios/traces/pae.trace.gz";
const COUNT = "./test/engines/stress/scenarios/count.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-usage-"));
afterAll(() => rmSync(folder, { recursive: true }));

const WHOLE = `import { defineScenario } from "umbra";
export default defineScenario({
  name: "mine", about: "a test", guests: ["4level"], vcpus: { min: 1, max: 2, default: 1 },
  machine: { ramPages: 256 }, options: {}, boot: () => null,
  programs: [(cpu) => { while (cpu.running()) cpu.load32(0); }],
});
`;

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function folderNamed(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

const NO_SOURCE = `{ "name": "mine", "cache": {}, "nanos": { "hit": { "value": 1 } }, "counters": {} }`;

test.concurrent.each([
  { args: ["simulate"], says: "missing required argument 'scenario'" },
  {
    args: ["simulate", COUNT, "--vcpus", "1,x"],
    says: '--vcpus of count wants a whole number from 1 to 8, got "x"',
  },
  {
    args: ["simulate", COUNT, "--lock", "ticket,spin"],
    says: '--lock wants test-and-set, ticket, mcs or futex, or several with commas, got "spin"',
  },
  {
    args: ["simulate", COUNT, "--cost", file("mine.json", NO_SOURCE)],
    says: `${join(folder, "mine.json")}: nanos.hit.source: wants a text that says where the number is from`,
  },
  {
    args: ["simulate", COUNT, "--cost", "pentium"],
    says: '--cost wants current-server or core2-2007 or the path of a .json file, got "pentium"',
  },
  {
    args: ["simulate", COUNT, "--set", "lock=ticket"],
    says: "--set lock: umbra simulate takes the kinds of lock to compare from --lock",
  },
  { args: ["calibrate", "--seconds", "0"], says: '--seconds wants a number from 1 to 3600, got "0"' },
  {
    args: ["calibrate", "--output", folderNamed("is-a-folder.json")],
    says: `--output ${join(folder, "is-a-folder.json")}: cannot be written: it is a folder`,
  },
  { args: ["calibrate", "--output", "mine"], says: '--output wants a .json file, got "mine"' },
  {
    args: ["calibrate", "--output", "no/such/mine.json"],
    says: "--output no/such/mine.json: cannot be written: there is no such folder",
  },
  {
    args: ["calibrate", "--output", "package.json/mine.json"],
    says: "--output package.json/mine.json: cannot be written: a part of the path is not a folder",
  },
  { args: ["ablate"], says: "required option '--workload <name>' not specified" },
  {
    args: ["ablate", "--workload", "games"],
    says: '--workload wants office or build or a recording (x.trace.gz), got "games"',
  },
  { args: [], says: "name a command; umbra --help lists them, umbra start shows Umbra at work" },
  { args: ["bogus"], says: "unknown command 'bogus'" },
  { args: ["stress"], says: "missing required argument 'scenario'" },
  { args: ["stress", COUNT, "--bogus"], says: "unknown option '--bogus'" },
  { args: ["stress", COUNT, "--vcpu", "1"], says: "unknown option '--vcpu' (Did you mean --vcpus?)" },
  { args: ["stress", COUNT, "--json"], says: "option '--json <file>' argument missing" },
  {
    args: ["stress", COUNT, "x"],
    says: `too many arguments for 'stress'. Expected 1 argument but got 2: ${COUNT}, x.`,
  },
  ...["0", "abc", "100000", "1.5", "-1", ""].map((vcpus) => ({
    args: ["stress", COUNT, "--vcpus", vcpus],
    says: `--vcpus of count wants a whole number from 1 to 8, got "${vcpus}"`,
  })),
  {
    args: ["stress", COUNT, "--vcpus", "1\n2"],
    says: '--vcpus of count wants a whole number from 1 to 8, got "1 2"',
  },
  {
    args: ["stress", COUNT, "--seconds", "0"],
    says: '--seconds wants a number from 0.1 to 604800, got "0"',
  },
  {
    args: ["stress", COUNT, "--seconds", "1e3"],
    says: '--seconds wants a number from 0.1 to 604800, got "1e3"',
  },
  {
    args: ["stress", COUNT, "--ops", "-4"],
    says: '--ops wants a whole number from 1 to 2147483647, got "-4"',
  },
  {
    args: ["stress", COUNT, "--ops", "4", "--seconds", "1"],
    says: "--seconds and --ops exclude each other: a run ends by time or by operations",
  },
  {
    args: ["stress", COUNT, "--seed", "x"],
    says: '--seed wants a whole number from 0 to 4294967295, got "x"',
  },
  {
    args: ["stress", COUNT, "--guest", "arm"],
    says: '--guest of count wants 4level, pae or 2level, got "arm"',
  },
  {
    args: ["explore", "map-unmap-shootdown", "--mutant", "m01", "--paging", "hap"],
    says: "paging=hap: m01 is a bug of shadow mode, and its scenario is made for that",
  },
  {
    args: ["stress", COUNT, "--paging", "nested"],
    says: '--paging wants shadow or hap, got "nested"',
  },
  {
    args: ["stress", COUNT, "--preset", "xen-9"],
    says: '--preset wants talk-before, talk, xen-3.3 or umbra, got "xen-9"',
  },
  {
    args: ["stress", COUNT, "--vs", "xen-9"],
    says: '--vs wants talk-before, talk, xen-3.3 or umbra, got "xen-9"',
  },
  {
    args: ["stress", COUNT, "--vs", "talk", "--folded", "waits.folded"],
    says: "--folded and --vs: a comparison has no stacks of its own",
  },
  { args: ["stress", COUNT, "--set", "prefetch"], says: '--set wants option=value, got "prefetch"' },
  { args: ["stress", COUNT, "--set", "prefetch=1"], says: '--set prefetch wants on or off, got "1"' },
  {
    args: ["stress", COUNT, "--set", "lock=mcs2"],
    says: '--set lock wants test-and-set, ticket, mcs or futex, got "mcs2"',
  },
  {
    args: ["stress", COUNT, "--set", "tlb-sets=3"],
    says: '--set tlb-sets wants a power of two up to 4096, got "3"',
  },
  {
    args: ["stress", COUNT, "--set", "pool=5"],
    says: "--set pool: 2 vCPUs and 512 pages of memory need a pool of at least 263 pages, got 5",
  },
  { args: ["stress", COUNT, "--set", "kind=even"], says: '--set kind wants plain or odd, got "even"' },
  { args: ["stress", COUNT, "--set", "step=x"], says: '--set step wants a whole number from 0, got "x"' },
  { args: ["stress", COUNT, "--set", "isCareful=2"], says: '--set isCareful wants on or off, got "2"' },
  {
    args: ["stress", COUNT, "--set", "stride=2"],
    says: /^--set stride: there is no such option; count knows step, kind, isCareful, .* or out-of-sync-after$/,
  },
  {
    args: ["stress", "no-such-scenario"],
    says: /^there is no scenario "no-such-scenario".*: umbra list names them, a path needs a "\/" or "\.ts"$/,
  },
  { args: ["stress", "./absent.ts"], says: "./absent.ts: there is no such file" },
  { args: ["stress", "./src"], says: "./src: this is not a file" },
  {
    args: ["stress", PAE, "--vcpus", "2"],
    says: `--vcpus is for scenarios: ${PAE} has as many as were recorded`,
  },
  { args: ["stress", PAE, "--guest", "pae"], says: `--guest is for scenarios: ${PAE} is a recorded guest` },
  {
    args: ["stress", PAE, "--set", "step=2"],
    says: /^--set step: there is no such option; there are writable-heuristic, .* or out-of-sync-after$/,
  },
  { args: ["stress", "absent.trace.gz"], says: "absent.trace.gz: cannot be read: there is no such file" },
  { args: ["conform"], says: "missing required argument 'file'" },
  { args: ["conform", "absent.gz"], says: "absent.gz: cannot be read: there is no such file" },
  { args: ["conform", "src"], says: "src: cannot be read: it is a folder" },
  { args: ["list", "--bogus"], says: "unknown option '--bogus'" },
  { args: ["trace"], says: "name a command of umbra trace; umbra trace --help lists them" },
  { args: ["trace", "bogus"], says: "unknown command 'bogus'" },
  { args: ["trace", "verify"], says: "missing required argument 'file'" },
  {
    args: ["trace", "verify", PAE, "--order", "free"],
    says: '--order wants strict or causal, got "free"',
  },
  {
    args: ["trace", "verify", PAE, "--preset", "x"],
    says: '--preset wants talk-before, talk, xen-3.3 or umbra, got "x"',
  },
  {
    args: ["trace", "verify", PAE, "--set", "step=2"],
    says: /^--set step: there is no such option; there are writable-heuristic, .*, out-of-sync-after$/,
  },
  { args: ["trace", "cut", PAE, "--records", "5"], says: "required option '--out <file>' not specified" },
  {
    args: ["trace", "cut", PAE, "--records", "0", "--out", "unwritten.gz"],
    says: /^--records wants a whole number from 1 to \d+, got "0"$/,
  },
  { args: ["snapshot"], says: "name a command of umbra snapshot; umbra snapshot --help lists them" },
  { args: ["snapshot", "verify", "absent.gz"], says: "required option '--regs <file>' not specified" },
])("umbra $args", async ({ args, says }) => {
  const { code, out, err } = await umbra(args);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expectOneLine(err, says);
});

test.each([
  {
    what: "throws",
    text: 'throw new TypeError("planted\\nin two lines");',
    says: "cannot be loaded: TypeError: planted",
    line: 1,
  },
  { what: "throws nothing", text: "throw undefined;", says: "cannot be loaded: undefined" },
  { what: "is no program", text: "export default {;", says: /^cannot be loaded: .*SyntaxError: /, line: 1 },
  {
    what: "does not parse in its third line",
    text: "const a = 1;\n\nconst b: number = ;",
    says: "cannot be loaded: SyntaxError: Expression expected",
    line: 3,
  },
  {
    what: "is JavaScript that does not parse in its second line",
    text: "const a = 1;\nconst b = ;",
    name: "bad.mjs",
    says: "cannot be loaded: SyntaxError: Unexpected token ';'",
    line: 2,
  },
  {
    what: "imports by a name that is not exported",
    text: 'const a = 1;\nimport { nobody } from "umbra";',
    says: /^cannot be loaded: SyntaxError: .*'nobody'$/,
    line: 2,
  },
  {
    what: "fails in a function",
    text: "function f() {\n  return a.b;\n}\nlet a;\nf();",
    says: /^cannot be loaded: TypeError: Cannot read properties of undefined/,
    line: 2,
  },
  {
    what: "imports what is not there",
    text: 'import "./nowhere.ts";',
    says: /^cannot be loaded: Cannot find module '.*nowhere\.ts' imported from .*$/,
  },
  {
    what: "uses an enum",
    text: "enum A { b }",
    says: /^cannot be loaded: SyntaxError: .*enum.*$/,
    line: 1,
  },
  { what: "exports nothing", text: "const a = 1;", says: "exports nothing as default: a scenario does" },
  {
    what: "exports something else",
    text: "export default 1;",
    says: "the scenario is not an object: export default defineScenario({…})",
  },
  {
    what: "exports half a scenario",
    text: 'export default { name: "a", about: "b", guests: ["4level"], vcpus: { min: 1, max: 1, default: 1 } };',
    says: /^the scenario has options that are not .*, has no function boot, has no programs$/,
  },
  {
    what: "boots by throwing",
    text: WHOLE.replace("() => null", '() => { throw new Error("planted"); }'),
    says: "scenario mine: boot failed: planted",
  },
  {
    what: "boots what cannot be sent",
    text: WHOLE.replace("() => null", "() => ({ f: () => 1 })"),
    says: /^scenario mine: boot failed: .* could not be cloned\.$/,
  },
  {
    what: "wants more memory than there is",
    text: WHOLE.replace("ramPages: 256", "ramPages: 1e9"),
    says: /^this computer has no room for a machine with 1000000000 pages/,
    about: "mine",
  },
])("a scenario file that $what", async ({ text, says, about, line: at, name = "bad.ts" }) => {
  const path = file(name, text);
  const json = join(folder, "result.json");
  const { code, err } = await umbra(["stress", path, "--seconds", "1", "--json", json]);
  expect(code).toBe(2);
  const line = err.replace(/^umbra: /, "");
  const start = `${about ?? path}${at === undefined ? "" : `:${String(at)}`}: `;
  expect(line.slice(0, start.length)).toBe(start);
  expectOneLine(`umbra: ${line.slice(start.length)}`, says);
  expect(readdirSync(folder)).not.toContain("result.json");
});

test("a scenario file that waits at its top for ever", async () => {
  const path = file("waits.ts", "await new Promise(() => undefined);");
  const { code, err } = await umbra(["stress", path]);
  expect(code).toBe(2);
  expectOneLine(err, `${path}: cannot be loaded: the module does not finish loading within 10 s`);
});

test("a scenario file that throws later, outside any program", async () => {
  const late = 'setTimeout(() => { throw new Error("planted"); }, 100);';
  const { code, err } = await umbra(["stress", file("late.ts", WHOLE + late), "--seconds", "30"]);
  expect(code).toBe(5);
  expectOneLine(err, "Umbra failed: planted");
});

test("a scenario file beside a package.json that says nothing runs without a warning", async () => {
  file("package.json", "{}");
  const path = file("mine.ts", WHOLE);
  const { code, err } = await umbra(["stress", path, "--ops", "1000"]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
});

/** One line that begins with who says it; no stack. */
function expectOneLine(err: string, says: string | RegExp): void {
  expect(err).toMatch(/^umbra: [^\n]+\n$/);
  const pattern = typeof says === "string" ? new RegExp(`^${RegExp.escape(says)}$`) : says;
  expect(err.slice("umbra: ".length, -1)).toMatch(pattern);
}
