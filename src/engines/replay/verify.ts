/** `umbra trace verify`: a recorded guest through shadow pagetables, everything held against the recording. */
import type { ReplayOrder } from "../../guest/trace/turns.ts";
import { Machine } from "../../hypervisor/machine.ts";
import type { MachineConfig } from "../../hypervisor/machine-config.ts";
import { CounterSet } from "../../machine/counter-set.ts";
import { readLockStatistics } from "../../locks/lock-statistics.ts";
import { LOCK_NAMES } from "../../memory/layout.ts";
import { COUNTER_NAMES } from "../../memory/counters.ts";
import type { CounterName } from "../../memory/counters.ts";
import { PAGE_BYTES, vcpuId } from "../../memory/units.ts";
import type { VerifyResult, Violation } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
import {
  DEFAULT_PRESET,
  machineRequest,
  requestedMachine,
  SETTING_NAMES,
  settingsOf,
} from "../machine-settings.ts";
import { RealClock } from "../real-clock.ts";
import { auditAtRest } from "../stress/audit.ts";
import { allowedNames, firstLine } from "../usage.ts";
import { explain } from "./explain.ts";
import { loadTrace, wordsOf } from "./load-trace.ts";
import type { LoadedTrace } from "./load-trace.ts";
import { noCounts, SHOWN_MAX } from "./outcome.ts";
import type { Counts, Mismatch, ReplayOutcome } from "./outcome.ts";
import { ReferenceTables, tableMismatchText } from "./reference-tables.ts";
import { runReplay } from "./replay-run.ts";
import type { ReplayEnd, ReplayHooks } from "./replay-run.ts";

const ORDERS: readonly ReplayOrder[] = ["strict", "causal"];

/** A replay as people ask for it: texts of the command line. */
export interface VerifyRequest {
  readonly file: string;
  readonly order?: string | undefined;
  readonly preset?: string | undefined;
  readonly set?: readonly string[] | undefined;
}

/** A replay with nothing left open. */
interface VerifyPlan {
  readonly trace: LoadedTrace;
  readonly order: ReplayOrder;
  readonly preset: string;
  readonly config: MachineConfig;
  readonly command: string;
}

/** Replays a trace and compares. Throws UsageError for bad input and for what cannot be asked. */
export async function verifyTrace(request: VerifyRequest, hooks: ReplayHooks = {}): Promise<VerifyResult> {
  const plan = planVerify(request);
  const machine = createMachine(plan);
  const end = await runReplay(machine, plan.trace, plan.order, hooks);
  return resultOf(plan, machine, end);
}

function planVerify(request: VerifyRequest): VerifyPlan {
  const { file, order: orderName = "strict", preset = DEFAULT_PRESET, set = [] } = request;
  const order = ORDERS.find((each) => each === orderName);
  if (order === undefined) throw new UsageError(`--order wants ${allowedNames(ORDERS)}, got "${orderName}"`);
  const { request: machine, others } = machineRequest(preset, set);
  const [unknown] = others;
  if (unknown !== undefined) {
    throw new UsageError(
      `--set ${unknown[0]}: there is no such option; there are ${SETTING_NAMES.join(", ")}`,
    );
  }
  const trace = loadTrace(file);
  const sizes = { vcpus: trace.cpus, ramPages: trace.ramBytes / PAGE_BYTES };
  const config = requestedMachine(machine, sizes);
  const settings = set.map((each) => ` --set ${each}`).join("");
  const command = `umbra trace verify ${file} --order ${order} --preset ${preset}${settings}`;
  return { trace, order, preset, config, command };
}

function createMachine({ trace, config }: VerifyPlan): Machine {
  try {
    return Machine.create(config, new RealClock());
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(
      `${trace.file}: this host has no room for a machine of ${trace.ramBytes} bytes of RAM: ${firstLine(error)}`,
      { cause: error },
    );
  }
}

function resultOf(plan: VerifyPlan, machine: Machine, end: ReplayEnd): VerifyResult {
  const { trace, order, preset, config, command } = plan;
  const { outcomes } = end;
  const mismatches = outcomes.flatMap(({ first }) => first).toSorted((a, b) => a.record - b.record);
  const tables = end.outcome === "completed" ? compareTables(plan, machine, outcomes) : null;
  if (tables !== null) mismatches.push(...tables.first);
  const compared = sumCounts(outcomes);
  const words = wordsOf(trace);
  const counters = sumCounters(machine);
  const { memory, layout } = machine;
  const { acquisitions } = readLockStatistics(memory, layout, LOCK_NAMES.indexOf("paging"));
  return {
    engine: "replay",
    command,
    file: trace.file,
    order,
    preset,
    switches: config.switches,
    machine: settingsOf(config),
    vcpus: trace.cpus,
    outcome: end.outcome,
    reason: end.reason,
    signal: end.signal,
    records: trace.records,
    ...compared,
    legalDifferences: compared.legalDifferences + (tables?.legal ?? 0),
    tableMismatches: tables?.count ?? null,
    violations: violationsOf(machine, end),
    ...evidence(counters),
    lockAcquisitions: acquisitions,
    handovers: outcomes.reduce((sum, { handovers }) => sum + handovers, 0),
    seconds: end.seconds,
    counters,
    first: mismatches.slice(0, SHOWN_MAX).map((mismatch) => explain(mismatch, words)),
  };
}

/** What the model's checks said, and what is wrong with the machine now that it is at rest. */
function violationsOf(machine: Machine, { outcome, outcomes }: ReplayEnd): Violation[] {
  const found: Violation[] = outcomes.flatMap(({ findings }) => findings);
  // Threads that were terminated can have left anything behind.
  const isAtRest = outcome !== "worker-died" && outcome !== "stuck";
  return isAtRest ? [...found, ...auditAtRest(machine)] : found;
}

function compareTables(
  { trace, order }: VerifyPlan,
  machine: Machine,
  outcomes: readonly ReplayOutcome[],
): { count: number; legal: number; first: Mismatch[] } {
  const crossings = new Map(outcomes.flatMap((outcome) => outcome.crossings));
  const reference = new ReferenceTables(
    wordsOf(trace),
    trace.cpus,
    crossings,
    machine.config.switches["out-of-sync"],
  );
  const ram = machine.guestRam();
  const first: Mismatch[] = [];
  let count = 0;
  let legal = 0;
  for (const mismatch of reference.compare((address) => ram.readWord(address), order === "causal")) {
    if (mismatch.isLegal) {
      legal++;
      continue;
    }
    count++;
    if (first.length >= SHOWN_MAX) continue;
    first.push({
      record: trace.records,
      what: `at the end ${tableMismatchText(mismatch)}`,
      guestWalk: [],
      shadowWalk: [],
      entries: [mismatch.address],
    });
  }
  return { count, legal, first };
}

function sumCounts(outcomes: readonly ReplayOutcome[]): Counts {
  const sum = noCounts();
  for (const each of outcomes) {
    sum.replayed += each.replayed;
    sum.fills += each.fills;
    sum.fillMismatches += each.fillMismatches;
    sum.faults += each.faults;
    sum.faultMismatches += each.faultMismatches;
    sum.stores += each.stores;
    sum.storeMismatches += each.storeMismatches;
    sum.legalDifferences += each.legalDifferences;
    sum.legalRights += each.legalRights;
  }
  return sum;
}

function sumCounters({ memory, layout, config }: Machine): Record<string, number> {
  const sets = Array.from({ length: config.vcpus }, (_, id) => new CounterSet(memory, layout, vcpuId(id)));
  return Object.fromEntries(
    COUNTER_NAMES.map((name, index) => [name, sets.reduce((sum, set) => sum + set.value(index), 0)]),
  );
}

/** What proves that shadows were used. */
function evidence(
  counters: Readonly<Record<string, number>>,
): Pick<
  VerifyResult,
  | "tlbHits"
  | "shadowWalks"
  | "demandFaults"
  | "emulatedStores"
  | "deviceWrites"
  | "mmio"
  | "unshadows"
  | "flushes"
> {
  const of = (name: CounterName): number => counters[name] ?? 0;
  return {
    tlbHits: of("tlb_hits"),
    shadowWalks: of("shadow_walks"),
    demandFaults: of("demand_faults"),
    emulatedStores: of("emulated_stores"),
    deviceWrites: of("device_writes"),
    mmio: of("mmio"),
    unshadows: of("unshadow"),
    flushes: of("local_flushes"),
  };
}
