/**
 * The two errors that the command line tells people about. What a run finds (violations, races, mismatches) is never an
 * error but part of its result.
 */

/**
 * The person asked for something impossible or gave bad input: one line that names the file, the line or field, and
 * the reason. Exit code 2.
 */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The run itself failed, through no fault of the input: a worker died, the watchdog fired. Exit code 5. */
export class RunError extends Error {
  override readonly name = "RunError";
}
