/**
 * The architecture: who may import whom. The table below is the only place that says it, and docs only
 * explain it. To add an arrow here is to change the architecture.
 */
import { posix } from "node:path";
import type { ESTree } from "vite";
import { expect, test } from "vitest";
import { descendants, filesIn, readSource, parseSource } from "./source.ts";
import type { Source } from "./source.ts";

interface Room {
  /** Paths that files of this room may import besides their own room: a folder ends in a slash. */
  readonly imports: readonly string[];
  /** Which packages it may import: "any" includes what Node itself brings. */
  readonly packages: "any" | readonly string[];
  /** Whether it may load a module whose path is only known when it runs. */
  readonly loads?: true;
}

const MEMORY = "src/memory/";
const LOCKS = "src/locks/";
const MACHINE = "src/machine/";
const HYPERVISOR = "src/hypervisor/";
const GUEST = "src/guest/";
const CHECKS = "src/checks/";
const ENGINES = "src/engines/";
const REPORT = "src/report/";
/** The explorer as users see it. */
const PROGRAM = "src/engines/explore/program/";

/** The kinds of number, which every room of src/ may import. */
const UNITS = "src/memory/units.ts";

const ROOMS: Readonly<Record<string, Room>> = {
  [MEMORY]: { imports: [], packages: [] },
  [LOCKS]: { imports: [MEMORY], packages: [] },
  // The one file of the model that uses a library, and how it is loaded when it is first needed.
  "src/machine/x86/iced.ts": { imports: [MACHINE], packages: ["iced-x86", "node:module"] },
  [MACHINE]: { imports: [MEMORY, LOCKS], packages: [] },
  [HYPERVISOR]: { imports: [MEMORY, LOCKS, MACHINE], packages: [] },
  // A guest knows its machine and nothing of what the hypervisor does behind it.
  [GUEST]: { imports: [MEMORY, MACHINE], packages: [] },
  [CHECKS]: { imports: [MEMORY, LOCKS, MACHINE, HYPERVISOR, GUEST], packages: [] },
  [ENGINES]: {
    imports: [MEMORY, LOCKS, MACHINE, HYPERVISOR, GUEST, CHECKS, "src/report/types.ts"],
    packages: "any",
    loads: true,
  },
  // A report is made from results alone, so that a result read back from a file reports the same.
  [REPORT]: { imports: [UNITS], packages: "any" },
  "src/cli/": { imports: [ENGINES, REPORT, UNITS], packages: "any", loads: true },
  // What users import as "umbra": the scenario API, and the explorer for programs of their own.
  "src/index.ts": { imports: [GUEST, PROGRAM], packages: [] },
  // What users import as "umbra/vitest".
  "src/vitest.ts": { imports: [PROGRAM, REPORT], packages: ["vitest"] },
  "workers/": { imports: [ENGINES], packages: "any" },
  // A mutant replaces a part of the hypervisor by a faulty one: it has to know what it replaces. Its guest side is written
  // as a user would write it all the same.
  "scenarios/mutants/": {
    imports: [MEMORY, LOCKS, MACHINE, HYPERVISOR, "src/engines/explore/mutants/mutant.ts"],
    packages: ["umbra"],
  },
  // Scenarios are written as a user would write them.
  "scenarios/": { imports: [], packages: ["umbra"] },
};

test.each(filesIn("src", "workers", "scenarios"))("%s imports only what its room may", (file) => {
  expect(badImports(readSource(file))).toEqual([]);
});

test.each([
  { file: "src/memory/wait.ts", text: 'import { Lock } from "../locks/lock.ts"', bad: "src/locks/lock.ts" },
  {
    file: "src/locks/lock.ts",
    text: 'import { Vcpu } from "../machine/vcpu.ts"',
    bad: "src/machine/vcpu.ts",
  },
  {
    file: "src/machine/a.ts",
    text: 'import type { P } from "../hypervisor/p.ts"',
    bad: "src/hypervisor/p.ts",
  },
  { file: "src/machine/a.ts", text: 'import { b } from "../engines/b.ts"', bad: "src/engines/b.ts" },
  { file: "src/hypervisor/shadow/a.ts", text: 'import "../../guest/g.ts"', bad: "src/guest/g.ts" },
  {
    file: "src/guest/a.ts",
    text: 'import { b } from "../hypervisor/shadow/b.ts"',
    bad: "src/hypervisor/shadow/b.ts",
  },
  { file: "src/guest/a.ts", text: 'import { b } from "../locks/b.ts"', bad: "src/locks/b.ts" },
  { file: "src/guest/a.ts", text: 'export { b } from "../checks/b.ts"', bad: "src/checks/b.ts" },
  { file: "src/guest/a.ts", text: 'export * from "../checks/b.ts"', bad: "src/checks/b.ts" },
  { file: "src/guest/a.ts", text: 'let b: import("../checks/b.ts").B', bad: "src/checks/b.ts" },
  { file: "src/checks/a.ts", text: 'import { b } from "../engines/b.ts"', bad: "src/engines/b.ts" },
  { file: "src/checks/a.ts", text: 'import { b } from "../report/types.ts"', bad: "src/report/types.ts" },
  { file: "src/engines/a.ts", text: 'import { b } from "../report/html.ts"', bad: "src/report/html.ts" },
  { file: "src/engines/a.ts", text: 'await import("../cli/b.ts?coroutine")', bad: "src/cli/b.ts" },
  { file: "src/engines/a.ts", text: 'import "../../workers/stress.ts"', bad: "workers/stress.ts" },
  { file: "src/report/a.ts", text: 'import type { b } from "../engines/b.ts"', bad: "src/engines/b.ts" },
  { file: "src/cli/a.ts", text: 'import { b } from "../hypervisor/b.ts"', bad: "src/hypervisor/b.ts" },
  { file: "src/index.ts", text: 'export { b } from "./machine/b.ts"', bad: "src/machine/b.ts" },
  { file: "src/stray.ts", text: 'import { b } from "./guest/b.ts"', bad: "src/guest/b.ts" },
  { file: "src/util/stray.ts", text: 'import { b } from "../guest/b.ts"', bad: "src/guest/b.ts" },
  { file: "workers/a.ts", text: 'import { b } from "../src/guest/b.ts"', bad: "src/guest/b.ts" },
  { file: "scenarios/a.ts", text: 'import { b } from "../src/index.ts"', bad: "src/index.ts" },
  { file: "scenarios/mutants/a.ts", text: 'import { b } from "../../src/guest/b.ts"', bad: "src/guest/b.ts" },
  { file: "scenarios/a.ts", text: 'import { b } from "../src/hypervisor/b.ts"', bad: "src/hypervisor/b.ts" },
  {
    file: "scenarios/mutants/a.ts",
    text: 'import { b } from "../../src/checks/b.ts"',
    bad: "src/checks/b.ts",
  },
  { file: "scenarios/a.ts", text: 'import { b } from "umbra/src/guest/b.ts"', bad: "umbra/src/guest/b.ts" },
  { file: "scenarios/a.ts", text: 'import { b } from "node:fs"', bad: "node:fs" },
  { file: "src/memory/a.ts", text: 'import { b } from "node:worker_threads"', bad: "node:worker_threads" },
  { file: "src/guest/a.ts", text: 'import { b } from "pure-rand"', bad: "pure-rand" },
  { file: "src/guest/a.ts", text: 'import { b } from "umbra"', bad: "umbra" },
  { file: "src/checks/a.ts", text: 'import { b } from "node:assert"', bad: "node:assert" },
  { file: "src/engines/a.ts", text: 'import { b } from "/elsewhere/b.ts"', bad: "/elsewhere/b.ts" },
  { file: "src/cli/a.ts", text: 'import data from "../../package.json"', bad: "package.json" },
  { file: "src/checks/a.ts", text: "await import(path)", bad: "a computed path" },
])("reports $bad as imported by $file", ({ file, text, bad }) => {
  expect(badImports(parseSource(file, text))).toEqual([`${file} imports ${bad}`]);
});

test.each([
  { file: "src/locks/lock.ts", text: 'import { a } from "../memory/wait.ts"; import "./mcs.ts"' },
  {
    file: "src/hypervisor/shadow/fault.ts",
    text: 'import { a } from "../p2m.ts"; import "../../machine/b.ts"',
  },
  { file: "src/guest/a.ts", text: 'import type { Gfn } from "../memory/units.ts"; import "../machine/a.ts"' },
  { file: "src/checks/a.ts", text: 'import "../guest/a.ts"; import "../hypervisor/shadow/audit.ts"' },
  {
    file: "src/engines/a/b.ts",
    text: 'import "node:fs"; import "piscina"; import "../../report/types.ts"; import(x)',
  },
  { file: "src/report/a.ts", text: 'import "cli-table3"; import "./types.ts"; import "../memory/units.ts"' },
  { file: "src/cli/a.ts", text: 'import "commander"; import "../report/a.ts"; import "../engines/b.ts"' },
  { file: "src/index.ts", text: 'export { defineScenario } from "./guest/scenario.ts"' },
  {
    file: "workers/stress.ts",
    text: 'import "../src/engines/stress/worker.ts"; import "node:worker_threads"',
  },
  {
    file: "scenarios/mutants/a.ts",
    text: 'import "umbra"; import "./b.ts"; import "../../src/hypervisor/shadow/pool.ts"',
  },
  { file: "src/guest/a.ts", text: '/* import "../checks/b.ts" */ const text = `import "node:fs"`;' },
])("lets $file have $text", ({ file, text }) => {
  expect(badImports(parseSource(file, text))).toEqual([]);
});

const COMPUTED = "a computed path";

/** One line for every import that the table does not allow. */
function badImports({ file, program }: Source): string[] {
  const home = Object.keys(ROOMS).find((name) => file.startsWith(name)) ?? file;
  const room = ROOMS[home] ?? { imports: [], packages: [] };
  const bad: string[] = [];
  for (const { node } of descendants(program)) {
    const path = importedBy(node);
    if (path === undefined) continue;
    if (path.startsWith(".")) {
      const target = posix.join(posix.dirname(file), path).replace(/\?.*$/, "");
      const allowed = [home, ...room.imports].some((each) =>
        each.endsWith("/") ? target.startsWith(each) : target === each,
      );
      if (!allowed) bad.push(`${file} imports ${target}`);
    } else if (!(path === COMPUTED ? room.loads : mayImportPackage(room, path))) {
      bad.push(`${file} imports ${path}`);
    }
  }
  return bad;
}

function mayImportPackage({ packages }: Room, name: string): boolean {
  if (packages !== "any") return packages.includes(name);
  return name !== "umbra" && !name.startsWith("/") && !name.startsWith("file:");
}

/** What a node imports, if it is of a kind that imports: an import, a re-export, a dynamic or a type import. */
function importedBy(node: ESTree.Node): string | undefined {
  if (!("source" in node) || node.source === null) return undefined;
  return node.source.type === "Literal" ? String(node.source.value) : COMPUTED;
}
