/** Files given by people, read whole; whatever is wrong with one is told in one line that names it. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { UsageError } from "./errors.ts";
import { firstLine } from "./usage.ts";

/** Most bytes that a file may unpack to. */
const UNPACKED_BYTES_MAX = 2 ** 31 - 1;

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

/** The bytes of a file of gzip data, unpacked. Throws UsageError when it is none, damaged, not whole or too much. */
export function readPacked(file: string): Buffer {
  const bytes = readBytes(file);
  if (!isPacked(bytes)) throw new UsageError(`${file}: not gzip data`);
  return unpack(file, bytes);
}

/** The bytes of a file, unpacked if they are gzip data. */
export function readMaybePacked(file: string): Buffer {
  const bytes = readBytes(file);
  return isPacked(bytes) ? unpack(file, bytes) : bytes;
}

function isPacked(bytes: Buffer): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

function unpack(file: string, bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: UNPACKED_BYTES_MAX });
  } catch (error) {
    throw new UsageError(`${file}: bad gzip data: ${unpackFailure(error)}`, { cause: error });
  }
}

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
      return `it unpacks to more than ${UNPACKED_BYTES_MAX} bytes`;
    default:
      return firstLine(error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
