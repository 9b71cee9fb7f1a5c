/**
 * Holds the walker against recorded answers: single walks whose outcome, error code and A/D bits somebody else gave.
 * Two tables are understood, told apart by their first line: `walks`, random entries of 2, 3 and 4 levels, and `access`,
 * every combination of bits in a 4-level table. Both go through the very class that the machine and the hypervisor use.
 */
/* oxlint-disable no-await-in-loop -- the pauses are for whatever else the thread has to do */
import { setImmediate as breathe } from "node:timers/promises";
import type { ConformMismatch, ConformResult } from "../report/types.ts";
import { AccessTable, isAccessHeader } from "./conform-access.ts";
import { WalkTable } from "./conform-walks.ts";
import { UsageError } from "./errors.ts";
import { isRecord, jsonLines } from "./ndjson.ts";
import type { JsonLine } from "./ndjson.ts";

const SHOWN_MAX = 10;
const LINES_BETWEEN_BREATHS = 16_384;

/** A table of recorded walks. */
interface Table {
  readonly kind: ConformResult["kind"];
  /** Runs the case of a line; what was found to differ, if anything did. Throws UsageError for a bad line. */
  check(line: JsonLine): ConformMismatch | undefined;
  /** Throws UsageError if fewer or more cases came than the table says it has. */
  finish(cases: number): void;
}

/**
 * Runs every case of a file. Pauses now and then, so that a signal is heard.
 *
 * @param onProgress Told now and then how much of the file is done, 0 to 1.
 * @throws UsageError when the file is not such a table, or not whole.
 */
export async function conform(file: string, onProgress?: (fraction: number) => void): Promise<ConformResult> {
  const first: ConformMismatch[] = [];
  let table: Table | undefined;
  let cases = 0;
  let mismatches = 0;
  for (const line of jsonLines(file)) {
    if (table === undefined) {
      table = tableOf(line);
      if (table.kind === "access") continue;
    }
    cases++;
    const mismatch = table.check(line);
    if (mismatch !== undefined) {
      mismatches++;
      if (first.length < SHOWN_MAX) first.push(mismatch);
    }
    if (cases % LINES_BETWEEN_BREATHS === 0) {
      onProgress?.(line.fraction);
      await breathe();
    }
  }
  if (table === undefined) throw new UsageError(`${file}: the file is empty`);
  table.finish(cases);
  return { file, kind: table.kind, cases, mismatches, first };
}

/** The table that a file's first line announces. */
function tableOf({ at, value }: JsonLine): Table {
  if (isAccessHeader(value)) return new AccessTable(at, value);
  if (isRecord(value) && "ent" in value) return new WalkTable();
  throw new UsageError(
    `${at}: neither a recorded walk (an object with "m", "va", "at", "ent" ...) nor the header of an access table`,
  );
}
