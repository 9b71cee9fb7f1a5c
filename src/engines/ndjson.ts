/** Files of one JSON value a line, compressed with gzip or not, read so that bad input is told by file, line and field. */
import { UsageError } from "./errors.ts";
import { readMaybePacked } from "./input-file.ts";

const NEWLINE = 10;

/** One line of a file, parsed. */
export interface JsonLine {
  /** File and line, to begin a message with. */
  readonly at: string;
  readonly line: number;
  readonly value: unknown;
  /** How far into the file the line ends, 0 to 1. */
  readonly fraction: number;
}

/**
 * The lines of a file. An empty line is only allowed at the very end.
 *
 * @throws UsageError when the file cannot be read, is not whole, is empty, or a line is not JSON.
 */
export function* jsonLines(file: string): Generator<JsonLine> {
  const text = readMaybePacked(file);
  if (text.length === 0) throw new UsageError(`${file}: the file is empty`);
  let line = 0;
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf(NEWLINE, start);
    const end = newline < 0 ? text.length : newline;
    line++;
    const at = `${file}:${line}`;
    yield { at, line, value: parse(at, text.toString("utf8", start, end)), fraction: end / text.length };
    start = end + 1;
  }
}

/** A field of a JSON object that must be there, as a hexadecimal number of at most 64 bits without prefix. */
export function hexField(at: string, record: Readonly<Record<string, unknown>>, field: string): string {
  return hex(at, field, record[field]);
}

/** A field that must be a list of hexadecimal numbers. */
export function hexList(
  at: string,
  record: Readonly<Record<string, unknown>>,
  field: string,
): readonly string[] {
  const value = record[field];
  if (!Array.isArray(value)) throw wrongField(at, field, "a list of hexadecimal numbers", value);
  return value.map((each: unknown, index) => hex(at, `${field}[${index}]`, each));
}

/** A field that must be a whole number from `low` to `high`. */
export function integerField(
  at: string,
  record: Readonly<Record<string, unknown>>,
  field: string,
  low: number,
  high: number,
): number {
  const value = record[field];
  if (typeof value !== "number" || !Number.isInteger(value) || value < low || value > high) {
    throw wrongField(at, field, `a whole number from ${low} to ${high}`, value);
  }
  return value;
}

/** Whether a JSON value is an object, not a list and not null. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The error for a field that is not what it must be. */
export function wrongField(at: string, field: string, wanted: string, got: unknown): UsageError {
  const text = got === undefined ? "nothing" : JSON.stringify(got);
  const shown = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return new UsageError(`${at}: field "${field}" must be ${wanted}, not ${shown}`);
}

function hex(at: string, field: string, value: unknown): string {
  if (typeof value !== "string" || !/^[0-9a-f]{1,16}$/i.test(value)) {
    throw wrongField(at, field, "a hexadecimal number of at most 16 digits", value);
  }
  return value;
}

function parse(at: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${at}: not JSON`);
  }
}
