/** Runs a failure again, from its file or its token, and says whether it still is what it was. */
import { existsSync } from "node:fs";
import type { ExploreFailure, ReplayResult, TraceRow } from "../../../report/types.ts";
import { RefusedError } from "../../coroutine/hook.ts";
import { UsageError } from "../../errors.ts";
import { countSwitches } from "./minimise.ts";
import { keyOfFailure, replay } from "../execution.ts";
import { planExplore } from "../explore-plan.ts";
import { NO_FILES, readFailureFile } from "./failure-files.ts";
import type { Directive } from "../directives.ts";
import { loadWorld } from "../load-world.ts";
import type { LoadedWorld } from "../load-world.ts";
import { isProgramToken, readProgramToken, writeProgramToken } from "../program/program-token.ts";
import { Ending } from "../scheduler.ts";
import type { ExploreTarget } from "../target.ts";
import { described, study } from "./study-failure.ts";
import { readToken, writeToken } from "./token.ts";
import type { TokenContent } from "./token.ts";

/** What a failure is run again for: to see it, to cut it down further, or to be told its cause anew. */
export type ReplayPurpose = "replay" | "minimise" | "explain";

interface Source {
  readonly target: ExploreTarget;
  readonly codeHash: string;
  readonly key: string;
  readonly directives: readonly Directive[];
  /** Its token if the code, the key or the schedule are others. */
  readonly tokenOf: (parts: Pick<TokenContent, "codeHash" | "key" | "directives">) => string;
  /** The trace as it was when the failure was found; null when the source is a token. */
  readonly trace: readonly TraceRow[] | null;
  readonly failure: ExploreFailure | null;
}

/** Replays a failure. Throws UsageError when neither a file nor a token is given, or it cannot be read. */
export async function replayFailure(fileOrToken: string, purpose: ReplayPurpose): Promise<ReplayResult> {
  const source = existsSync(fileOrToken) ? await fromFile(fileOrToken) : await fromToken(fileOrToken);
  const { world, codeHash } = await loaded(source.target);
  const { directives } = source;
  const execution = replay(world, directives);
  const found = execution.failures.find((each) => isKey(keyOfFailure(each), source.key));
  const key = found === undefined ? source.key : keyOfFailure(found);
  const switches = countSwitches(execution.trace);
  const plain = {
    ...described(world, execution, key),
    before: switches,
    after: switches,
    replays: 1,
    orders: null,
  };
  const divergence = source.trace === null ? null : firstDivergence(source.trace, plain.trace);
  // What was found of another execution says nothing of this one.
  const orders = divergence === null && found !== undefined ? (source.failure?.orders ?? null) : null;
  const studied =
    purpose === "replay" || found === undefined ? { ...plain, orders } : study(world, execution, key);
  const { directives: best, ...told } = studied;
  const token = source.tokenOf({ codeHash, key, directives: best });
  return {
    purpose,
    isSameCode: codeHash === source.codeHash,
    codeHash,
    fails: found !== undefined,
    otherwise: found !== undefined ? [] : [...new Set(execution.failures.map((each) => keyOfFailure(each)))],
    isCapped: execution.ending === Ending.capped,
    divergence,
    failure: { ...told, iteration: source.failure?.iteration ?? 0, times: 1, token, ...NO_FILES },
  };
}

/** The world of a target. Throws UsageError also where the code can no longer be explored. */
async function loaded(target: ExploreTarget): Promise<LoadedWorld> {
  try {
    return await loadWorld(target);
  } catch (error) {
    if (error instanceof RefusedError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** A token has the key in letters that need no quoting. */
function isKey(key: string, wanted: string): boolean {
  return key === wanted || key.replaceAll(/[^\w-]+/g, "-").startsWith(wanted);
}

async function fromFile(path: string): Promise<Source> {
  const { failure, target, directives, codeHash } = await readFailureFile(path);
  const { key, trace, token } = failure;
  return { target, codeHash, key, directives, tokenOf: retold(target, token), trace, failure };
}

async function fromToken(token: string): Promise<Source> {
  if (!token.includes(":")) throw new UsageError(`${token}: there is no such file, and this is no token`);
  const { target, codeHash, key, directives } = isProgramToken(token)
    ? readProgramToken(token)
    : await scenarioOf(readToken(token));
  return { target, codeHash, key, directives, tokenOf: retold(target, token), trace: null, failure: null };
}

/** What writes the token of the same target again. */
function retold(target: ExploreTarget, token: string): Source["tokenOf"] {
  if (target.kind === "program") return (parts) => writeProgramToken({ target, ...parts });
  const { scenario, settings } = readToken(token);
  return (parts) => writeToken({ scenario, settings, ...parts });
}

async function scenarioOf(content: TokenContent): Promise<TokenContent & Pick<Source, "target">> {
  const { vcpus, guest, seed, rounds, preset, set, isWhole, pointsMax, mutant } = content.settings;
  const { target } = await planExplore({
    scenario: content.scenario,
    vcpus: String(vcpus),
    guest,
    seed: String(seed),
    rounds: String(rounds),
    preset,
    set,
    isWhole,
    steps: String(pointsMax),
    mutant: mutant ?? undefined,
  });
  return { ...content, target };
}

/** The first step at which another thread, place or object is seen than when the failure was found. */
function firstDivergence(then: readonly TraceRow[], now: readonly TraceRow[]): string | null {
  for (const [index, row] of then.entries()) {
    const again = now[index];
    const step = `step ${String(index + 1)}`;
    if (again === undefined)
      return `${step}: the execution is over, where it was at ${row.within} (${row.site})`;
    if (again.thread !== row.thread)
      return `${step}: thread ${String(again.thread)} runs, not ${String(row.thread)}`;
    if (again.site !== row.site) return `${step}: it is at ${again.site}, not ${row.site}`;
    if (again.object !== row.object) return `${step}: it concerns ${again.object}, not ${row.object}`;
  }
  return now.length === then.length
    ? null
    : `step ${String(then.length + 1)}: the execution goes on, where it was over`;
}
