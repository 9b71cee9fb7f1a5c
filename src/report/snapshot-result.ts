/** What `umbra snapshot verify` found: recorded tables shadowed whole and held against a listing of their mappings. */
import type { Violation } from "./stress-result.ts";

/** The result of one comparison. */
export interface SnapshotResult {
  readonly engine: "snapshot";
  /** The command that repeats the run. */
  readonly command: string;
  /** The three files, and the CPU whose root and registers were loaded. */
  readonly tables: string;
  readonly regs: string;
  readonly listing: string;
  readonly cpu: number;
  /** Levels of the guest's tables: 2, 3 or 4. */
  readonly levels: number;
  readonly preset: string;
  readonly switches: Readonly<Record<string, boolean>>;
  /** Lines of the listing. */
  readonly mappings: number;
  /** Lines whose shadow is not what it must be. */
  readonly differences: number;
  /** Mappings of the tables for which the listing has no line. */
  readonly unlisted: number;
  /** Pieces of 4 KiB that were touched. */
  readonly pieces: number;
  /** Lines that map large pages, and lines that map a device. */
  readonly largePages: number;
  readonly devices: number;
  /** Pages that became pagetables for the shadows. */
  readonly tablePages: number;
  readonly violations: readonly Violation[];
  /** The first differences, then the first unlisted mappings, ten at most, as text. */
  readonly first: readonly string[];
}
