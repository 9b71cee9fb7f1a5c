/** Recorded traces as files: read, unpacked and checked whole, so that bad input is one line and nothing ran yet. */
import { checkTrace, isProblem, problemText } from "../../guest/trace/check-trace.ts";
import { UsageError } from "../errors.ts";
import { readPacked } from "../input-file.ts";

/** A trace that was found to be in order. Plain data that threads share. */
export interface LoadedTrace {
  readonly file: string;
  /** The unpacked bytes. */
  readonly bytes: SharedArrayBuffer;
  readonly ramBytes: number;
  readonly cpus: number;
  /** Records, START and END included. */
  readonly records: number;
}

/** Reads a trace. Throws UsageError when the file is not one, or is not whole. */
export function loadTrace(file: string): LoadedTrace {
  const unpacked = readPacked(file);
  const bytes = shared(file, unpacked);
  const checked = checkTrace(new Int32Array(bytes, 0, bytes.byteLength >>> 2), unpacked.length);
  if (isProblem(checked)) throw new UsageError(`${file}: ${problemText(checked)}`);
  return { file, bytes, ...checked };
}

/** The words of a trace, as records are decoded from. */
export function wordsOf(trace: Pick<LoadedTrace, "bytes">): Int32Array<SharedArrayBuffer> {
  return new Int32Array(trace.bytes);
}

function shared(file: string, bytes: Buffer): SharedArrayBuffer {
  let buffer: SharedArrayBuffer;
  try {
    // Rounded up, so that it is whole words whatever the file holds.
    buffer = new SharedArrayBuffer(Math.ceil(bytes.length / 4) * 4);
  } catch (error) {
    throw new UsageError(`${file}: its ${bytes.length} bytes do not fit into memory`, { cause: error });
  }
  new Uint8Array(buffer).set(bytes);
  return buffer;
}
