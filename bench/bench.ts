/**
 * `npm run bench [-- --json FILE]`: what the hot paths cost, as multiples of one `Atomics.load` measured beside them, and
 * what a second vCPU brings. Absolute times mean little on a machine that does other work; ratios hold.
 */
import { execFile } from "node:child_process";
import { execPath, exit, stderr, stdout } from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import Table from "cli-table3";
import { YOUNG_MIB } from "../src/engines/simulate/sweep.ts";
import { writeWhole } from "../src/engines/output-file.ts";
import { EXPLORER_FIGURES } from "./explorer-figures.ts";
import { FIGURES } from "./figures.ts";
import type { Measurement } from "./measure.ts";
import type { SimulatorRow } from "./simulator-figures.ts";
import { measureTwoVcpus } from "./two-vcpus.ts";

/** One row of the result: docs/schema/bench.json. */
interface Row {
  readonly name: string;
  readonly ratio: number;
  readonly target: number | null;
  readonly met: boolean | null;
}

/** One row of the explorer's part of the result. */
interface ExplorerRow {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly target: number;
  readonly met: boolean;
}

/** The lock that is the default, and the one whose waiters have each a line of their own. */
const SIMULATED_LOCKS = ["test-and-set", "mcs"] as const;
/** As the threads of a sweep have it. */
const YOUNG = [`--max-semi-space-size=${String(YOUNG_MIB / 3)}`];
const SIMULATOR_FIGURE = fileURLToPath(new URL("simulator-figure.ts", import.meta.url));
const TWO_VCPUS_TARGET = 1.8;
const FIGURE = fileURLToPath(new URL("figure.ts", import.meta.url));
const EXPLORER_FIGURE = fileURLToPath(new URL("explorer-figure.ts", import.meta.url));

async function measureFigure(name: string): Promise<Measurement> {
  const { stdout: text } = await promisify(execFile)(execPath, [FIGURE, name]);
  const measured: unknown = JSON.parse(text);
  return measured as Measurement;
}

/** The explorer's figures, each in a process of its own. */
async function measureExplorer(): Promise<ExplorerRow[]> {
  const rows: ExplorerRow[] = [];
  for (const [figure, { name, unit, target }] of Object.entries(EXPLORER_FIGURES)) {
    if (stderr.isTTY) stderr.write(`\r\u001B[K${name}`);
    const { stdout: text } = await promisify(execFile)(execPath, [EXPLORER_FIGURE, figure]);
    const value = rounded(Number(text));
    rows.push({ name, unit, value, target, met: value >= target });
  }
  return rows;
}

/** The simulator's figures, those of each kind of lock in a process of its own. */
async function measureSimulator(): Promise<SimulatorRow[]> {
  const rows: SimulatorRow[] = [];
  for (const lock of SIMULATED_LOCKS) {
    if (stderr.isTTY) stderr.write(`\r\u001B[Ksimulate, ${lock}`);
    const { stdout: text } = await promisify(execFile)(execPath, [...YOUNG, SIMULATOR_FIGURE, lock]);
    const measured: unknown = JSON.parse(text);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what simulator-figure.ts writes
    rows.push(...(measured as SimulatorRow[]));
  }
  return rows;
}

function rateTable(what: string, rows: readonly (ExplorerRow | SimulatorRow)[]): string {
  const table = new Table({
    head: [what, "", "to reach", "", ""],
    colAligns: ["left", "right", "right", "left", "left"],
    style: { head: [], border: [] },
  });
  for (const { name, unit, value, target, met } of rows)
    table.push([name, shown(value), shown(target), unit, met ? "met" : "MISSED"]);
  return table.toString();
}

function shown(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 100 ? 2 : 0 });
}

function rounded(ratio: number): number {
  return Math.round(ratio * 100) / 100;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { json: { type: "string" } } });
  const table = new Table({
    head: ["", "ns", "Atomics.load", "ratio", "target", ""],
    colAligns: ["left", "right", "right", "right", "right", "left"],
    style: { head: [], border: [] },
  });
  const rows: Row[] = [];
  const add = (row: Row, nanos: string, base: string): void => {
    rows.push(row);
    const verdict = row.met === null ? "" : row.met ? "met" : "MISSED";
    table.push([row.name, nanos, base, row.ratio.toFixed(2), row.target ?? "", verdict]);
  };
  for (const { name, target } of FIGURES) {
    if (stderr.isTTY) stderr.write(`\r\u001B[K${name}`);
    const { nanos, baseNanos } = await measureFigure(name);
    const ratio = rounded(nanos / baseNanos);
    const met = target === null ? null : ratio <= target;
    add({ name, ratio, target, met }, nanos.toFixed(1), baseNanos.toFixed(1));
  }
  if (stderr.isTTY) stderr.write("\r\u001B[K");
  const gain = rounded(await measureTwoVcpus());
  const name = "two vCPUs, by the work of one";
  add({ name, ratio: gain, target: TWO_VCPUS_TARGET, met: gain >= TWO_VCPUS_TARGET }, "", "");
  stdout.write(`${table.toString()}\n`);
  const explorer = await measureExplorer();
  if (stderr.isTTY) stderr.write("\r\u001B[K");
  stdout.write(`${rateTable("explorer", explorer)}\n`);
  const simulator = await measureSimulator();
  if (stderr.isTTY) stderr.write("\r\u001B[K");
  stdout.write(`${rateTable("simulator", simulator)}\n`);
  if (values.json !== undefined)
    await writeWhole(values.json, `${JSON.stringify({ results: rows, explorer, simulator }, null, 2)}\n`);
  return 0;
}

try {
  exit(await main());
} catch (error) {
  stderr.write(`bench: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}\n`);
  exit(5);
}
