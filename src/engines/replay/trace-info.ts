/** What is in a trace, counted: how much of each type and CPU, and which rare things occur. */
import { addressOf } from "../../guest/trace/address.ts";
import { TraceCursor } from "../../guest/trace/cursor.ts";
import {
  RECORD_NAMES,
  RESET_CR0,
  RecordType,
  cplOfFill,
  isSmapFill,
  isUserFill,
} from "../../guest/trace/record.ts";
import { Cr0 } from "../../machine/control-registers.ts";
import { FaultCode } from "../../machine/fault-code.ts";
import { PAGE_BYTES } from "../../memory/units.ts";
import type { TraceInfoResult } from "../../report/types.ts";
import { loadTrace, wordsOf } from "./load-trace.ts";
import type { LoadedTrace } from "./load-trace.ts";

const VGA_START = 0xa_0000;
const LOW_MEMORY_END = 0x10_0000;

/** What a feature may ask besides the record. */
interface Context {
  readonly ramBytes: number;
  /** CR0 of the record's CPU, 0 while it is not known. */
  readonly cr0: number;
  /** Whether a record came that is neither a state nor a table of the beginning. */
  readonly hasBegun: boolean;
  /** Whether the CPU's record before this one, ADs apart, set A or D. */
  readonly followsAd: boolean;
}

interface Feature {
  readonly name: string;
  readonly about: string;
  has(record: TraceCursor, context: Context): boolean;
}

const FEATURES: readonly Feature[] = [
  { name: "CR0 writes", about: "MOV to CR0, task switches included", has: isWriteOf(0) },
  { name: "CR3 writes", about: "MOV to CR3", has: isWriteOf(3) },
  { name: "CR4 writes", about: "MOV to CR4", has: isWriteOf(4) },
  {
    name: "EFER writes",
    about: "WRMSR of EFER",
    has: ({ type, b }) => type === RecordType.efer && b === 0,
  },
  {
    name: "resets",
    about: "INIT or reset of a CPU",
    has: (record) => isWriteOf(0)(record) && record.xLow === RESET_CR0,
  },
  {
    name: "paging off",
    about: "records of a CPU whose paging is off",
    has: ({ type }, { cr0, hasBegun }) => hasBegun && type !== RecordType.end && (cr0 & Cr0.pg) === 0,
  },
  {
    name: "WP off",
    about: "stores to tables while CR0.WP is clear",
    has: ({ type }, { cr0 }) => type === RecordType.ptw && (cr0 & Cr0.wp) === 0,
  },
  fills("4 KiB pages", "walks that end in one", ({ c }) => c >>> 8 === 12),
  fills("2 MiB pages", "walks that end in one", ({ c }) => c >>> 8 === 21),
  fills("4 MiB pages", "walks that end in one", ({ c }) => c >>> 8 === 22),
  fills("1 GiB pages", "walks that end in one; shadow mode refuses them", ({ c }) => c >>> 8 === 30),
  fills("beyond RAM", "walks that lead to a device", ({ yLow, yHigh }, { ramBytes }) => {
    return addressOf(yLow, yHigh) >= ramBytes;
  }),
  fills("VGA hole and ROM", "walks that lead there", ({ yLow, yHigh }) => {
    const physical = addressOf(yLow, yHigh);
    return physical >= VGA_START && physical < LOW_MEMORY_END;
  }),
  fills("implicit accesses", "supervisor accesses at CPL 3", ({ b }) => !isUserFill(b) && cplOfFill(b) === 3),
  fills("SMAP", "walks with SMAP enforced", ({ b }) => isSmapFill(b)),
  faults("faults of user mode", FaultCode.user),
  faults("faults of fetches", FaultCode.fetch),
  faults("faults of reserved bits", FaultCode.reserved),
  {
    name: "refused walks that set A",
    about: "upper entries got A although the walk was refused",
    has: ({ type }, { followsAd }) => followsAd && type === RecordType.pf,
  },
  ...[1, 2, 4, 8].map((size) => stores(`stores of ${size}`, "bytes to a table", ({ a }) => a === size)),
  stores("user-mode stores", "to a table, at CPL 3", ({ b }) => (b & 3) === 3),
  stores("unaligned stores", "to a table", ({ a, xLow }) => (xLow & (a - 1)) !== 0),
  stores("page-crossing stores", "to a table", ({ a, xLow }) => (xLow & (PAGE_BYTES - 1)) + a > PAGE_BYTES),
  {
    name: "later tables",
    about: "pages found to be tables after the beginning",
    has: ({ type }, { hasBegun }) => hasBegun && type === RecordType.ptpage,
  },
];

/** Reads a trace and counts. Throws UsageError when it is not in order. */
export function traceInfo(file: string): TraceInfoResult {
  const trace = loadTrace(file);
  const byCpu = Array.from({ length: trace.cpus }, () => 0);
  const byType: Record<string, number> = {};
  const order = { handovers: 0, longestRun: 0 };
  let run = 0;
  let cpu = -1;
  for (const record = new TraceCursor(wordsOf(trace)); record.next();) {
    const name = RECORD_NAMES[record.type] ?? "";
    byType[name] = (byType[name] ?? 0) + 1;
    byCpu[record.cpu] = (byCpu[record.cpu] ?? 0) + 1;
    if (record.type === RecordType.end) break;
    if (cpu >= 0 && record.cpu !== cpu) {
      order.handovers++;
      run = 0;
    }
    run++;
    order.longestRun = Math.max(order.longestRun, run);
    ({ cpu } = record);
  }
  const { ramBytes, cpus, records, bytes } = trace;
  return {
    file,
    ramBytes,
    cpus,
    records,
    bytes: bytes.byteLength,
    byType,
    byCpu,
    ...order,
    features: countFeatures(trace),
  };
}

function countFeatures(trace: LoadedTrace): TraceInfoResult["features"] {
  const counts = FEATURES.map(() => 0);
  const cr0 = new Int32Array(trace.cpus);
  const hasAd = new Uint8Array(trace.cpus);
  let hasBegun = false;
  for (const record = new TraceCursor(wordsOf(trace)); record.next();) {
    const { type, cpu, a, xLow } = record;
    if (type === RecordType.ad) {
      hasAd[cpu] = 1;
      continue;
    }
    if (!record.isState() && type !== RecordType.ptpage && type !== RecordType.start) hasBegun = true;
    const context = { ramBytes: trace.ramBytes, cr0: cr0[cpu] ?? 0, hasBegun, followsAd: hasAd[cpu] === 1 };
    for (const [index, feature] of FEATURES.entries()) {
      if (feature.has(record, context)) counts[index] = (counts[index] ?? 0) + 1;
    }
    hasAd[cpu] = 0;
    if (type === RecordType.cr && a === 0) cr0[cpu] = xLow;
  }
  return FEATURES.map(({ name, about }, index) => ({ name, about, count: counts[index] ?? 0 }));
}

function isWriteOf(register: number): (record: TraceCursor) => boolean {
  return ({ type, a, b }) => type === RecordType.cr && a === register && b === 0;
}

function fills(name: string, about: string, test: Feature["has"]): Feature {
  return { name, about, has: (record, context) => record.type === RecordType.fill && test(record, context) };
}

function stores(name: string, about: string, test: Feature["has"]): Feature {
  return { name, about, has: (record, context) => record.type === RecordType.ptw && test(record, context) };
}

function faults(name: string, bit: number): Feature {
  return { name, about: "page faults", has: ({ type, c }) => type === RecordType.pf && (c & bit) !== 0 };
}
