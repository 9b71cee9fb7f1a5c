/**
 * `npm run soak`: every scenario for a while in every way, one after another, each in a process of its own. What fails is
 * shown whole, with the command that repeats it. Exit code 1 if anything was found, 5 if a run failed otherwise.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { soakPlan } from "./soak-plan.ts";
import type { SoakRun } from "./soak-plan.ts";

const UMBRA = fileURLToPath(new URL("../../bin/umbra.js", import.meta.url));
const VIOLATION = 1;
/** A bound cut executions short: what was executed was sound. */
const INCONCLUSIVE = 3;
const FAILED = 5;
const INTERRUPTED = 130;

/** What became of a run. */
interface Ended {
  readonly code: number;
  readonly output: string;
}

function run({ args }: SoakRun): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [UMBRA, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const collect = (text: string): void => {
      output += text;
    };
    child.stdout.setEncoding("utf8").on("data", collect);
    child.stderr.setEncoding("utf8").on("data", collect);
    child.once("error", (error) => {
      resolve({ code: FAILED, output: error.message });
    });
    child.once("close", (code) => {
      resolve({ code: code ?? FAILED, output });
    });
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Runs what is asked for; the exit code. */
async function soak(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "20" },
      seed: { type: "string" },
      only: { type: "string", default: "" },
    },
  });
  const all = await soakPlan(values.seconds, values.seed);
  const runs = all.filter(({ name }) => name.includes(values.only));
  say(`${String(runs.length)} runs of ${values.seconds} s each`);
  if (runs.length === 0) return 2;
  const started = performance.now();
  const codes: number[] = [];
  for (const each of runs) {
    // oxlint-disable-next-line no-await-in-loop -- one at a time: each has all cores
    const { code, output } = await run(each);
    codes.push(code);
    const verdict =
      code === 0 ? "ok" : code === INCONCLUSIVE ? "ok, inconclusive" : `exit code ${String(code)}`;
    say(`${each.name}: ${verdict}`);
    if (code !== 0 && code !== INCONCLUSIVE) say(output);
    if (code === INTERRUPTED) break;
  }
  const bad = codes.filter((code) => code !== 0 && code !== INCONCLUSIVE);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  say(
    `${String(codes.length)} runs in ${seconds} s, ${bad.length === 0 ? "no violation" : `${String(bad.length)} failed`}`,
  );
  if (bad.includes(VIOLATION)) return VIOLATION;
  return bad.includes(INTERRUPTED) ? INTERRUPTED : bad.length === 0 ? 0 : FAILED;
}

process.exitCode = await soak();
