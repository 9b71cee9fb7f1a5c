/** The beginning of a trace as a trace of its own: its records, the state of each CPU there, and an END. */
import { gzipSync } from "node:zlib";
import { TraceCursor } from "../../guest/trace/cursor.ts";
import { RECORD_BYTES, RecordType } from "../../guest/trace/record.ts";
import type { CutResult } from "../../report/types.ts";
import { RunError, UsageError } from "../errors.ts";
import { writeFailure, writeWhole } from "../output-file.ts";
import { loadTrace, wordsOf } from "./load-trace.ts";
import type { LoadedTrace } from "./load-trace.ts";
import { RecordedRegisters } from "./recorded-registers.ts";

const BEST = 9;

/**
 * Writes the first records of a trace to a file. There may be fewer than asked for: what a walk set in its tables is not
 * cut from what the walk was for, and a trace that is shorter is taken whole.
 *
 * @throws UsageError when the trace is not in order, or nothing can be cut from it; RunError when the file cannot be
 *   written.
 */
export async function cutTrace(file: string, records: number, out: string): Promise<CutResult> {
  if (!Number.isSafeInteger(records) || records < 1) {
    throw new UsageError(`--records wants a whole number from 1, got ${String(records)}`);
  }
  const trace = loadTrace(file);
  const cut = records < trace.records ? beginningOf(trace, records) : wholeOf(trace);
  const packed = gzipSync(cut.bytes, { level: BEST });
  try {
    await writeWhole(out, packed);
  } catch (error) {
    throw new RunError(`--out ${out}: cannot be written: ${writeFailure(error)}`, { cause: error });
  }
  return { file, out, kept: cut.kept, records: cut.records, bytes: packed.length };
}

interface Cut {
  readonly bytes: Uint8Array;
  /** Records taken from the trace. */
  readonly kept: number;
  /** Records of what was made of them. */
  readonly records: number;
}

function wholeOf({ bytes, records }: LoadedTrace): Cut {
  return { bytes: new Uint8Array(bytes), kept: records, records };
}

function beginningOf(trace: LoadedTrace, records: number): Cut {
  const { kept, end } = lengthOf(trace, records);
  const registers = Array.from({ length: trace.cpus }, () => new RecordedRegisters());
  for (const record = new TraceCursor(wordsOf(trace)); record.next() && record.index < kept;) {
    registers[record.cpu]?.note(record);
  }
  const states = registers.flatMap((each, cpu) => each.records(cpu));
  const last = Buffer.alloc(RECORD_BYTES);
  last[0] = RecordType.end;
  last.writeBigUInt64LE(BigInt(kept + states.length), 8);
  const bytes = Buffer.concat([new Uint8Array(trace.bytes, 0, end), ...states, last]);
  return { bytes, kept, records: kept + states.length + 1 };
}

/** How many records to keep, so that the last is no AD, and the byte at which they end. */
function lengthOf(trace: LoadedTrace, records: number): { kept: number; end: number } {
  let kept = 0;
  let end = 0;
  for (const record = new TraceCursor(wordsOf(trace)); record.next() && record.index < records;) {
    if (record.type === RecordType.ad) continue;
    kept = record.index + 1;
    end = record.nextOffset * 4;
  }
  return { kept, end };
}
