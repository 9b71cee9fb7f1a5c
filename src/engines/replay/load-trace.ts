/** Recorded traces as files: read, unpacked and checked whole, so that bad input is one line and nothing ran yet. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { checkTrace, isProblem, problemText } from "../../guest/trace/check-trace.ts";
import { UsageError } from "../errors.ts";
import { firstLine } from "../usage.ts";

/** Most bytes that a trace may unpack to. */
const TRACE_BYTES_MAX = 2 ** 31 - 1;

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
  const unpacked = unpack(file, readBytes(file));
  const bytes = shared(file, unpacked);
  const checked = checkTrace(new Int32Array(bytes, 0, bytes.byteLength >>> 2), unpacked.length);
  if (isProblem(checked)) throw new UsageError(`${file}: ${problemText(checked)}`);
  return { file, bytes, ...checked };
}

/** The words of a trace, as records are decoded from. */
export function wordsOf(trace: Pick<LoadedTrace, "bytes">): Int32Array<SharedArrayBuffer> {
  return new Int32Array(trace.bytes);
}

/** The bytes of a file. Throws UsageError when there are none. */
export function readBytes(file: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new UsageError(`${file}: cannot be read: ${readFailure(error)}`, { cause: error });
  }
  if (bytes.length === 0) throw new UsageError(`${file}: the file is empty`);
  return bytes;
}

/** The bytes of a file, unpacked if they are gzip data. */
export function readMaybePacked(file: string): Buffer {
  const bytes = readBytes(file);
  return isPacked(bytes) ? unpack(file, bytes) : bytes;
}

/** Unpacked gzip data. Throws UsageError when it is none, is damaged or not whole, or unpacks to too much. */
function unpack(file: string, bytes: Buffer): Buffer {
  if (!isPacked(bytes)) throw new UsageError(`${file}: not gzip data`);
  try {
    return gunzipSync(bytes, { maxOutputLength: TRACE_BYTES_MAX });
  } catch (error) {
    throw new UsageError(`${file}: bad gzip data: ${unpackFailure(error)}`, { cause: error });
  }
}

function isPacked(bytes: Buffer): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** Why a file could not be read, in words. */
function readFailure(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
      return "there is no such file";
    case "EISDIR":
      return "it is a folder";
    case "EACCES":
      return "permission denied";
    default:
      return firstLine(error);
  }
}

function unpackFailure(error: unknown): string {
  switch (codeOf(error)) {
    case "Z_BUF_ERROR":
      return "the file ends too early";
    case "ERR_BUFFER_TOO_LARGE":
      return `it unpacks to more than ${TRACE_BYTES_MAX} bytes`;
    default:
      return firstLine(error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
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
