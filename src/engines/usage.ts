/** How values given by people are read, and how they are told what was wanted. */
import { UsageError } from "./errors.ts";

/** The whole number in a text. Throws UsageError when it is none, or outside the range. */
export function wholeNumber(what: string, text: string, range: { min: number; max: number }): number {
  const { min, max } = range;
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new UsageError(`${what} wants a whole number from ${String(min)} to ${String(max)}, got "${text}"`);
  }
  return value;
}

/** The number in a text. Throws UsageError when it is none, or outside the range. */
export function decimalNumber(what: string, text: string, range: { min: number; max: number }): number {
  const { min, max } = range;
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(value) || value < min || value > max) {
    throw new UsageError(`${what} wants a number from ${String(min)} to ${String(max)}, got "${text}"`);
  }
  return value;
}

/** `a, b or c`. */
export function allowedNames(names: readonly string[]): string {
  const last = names.at(-1) ?? "nothing";
  return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} or ${last}`;
}

/** The first line of an error's message, so that nothing that people read is longer. */
export function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (
    message
      .split("\n")
      .find((line) => line.trim() !== "")
      ?.trim() ?? "no reason given"
  );
}

/** Words as a command that a shell takes. */
export function commandLine(words: readonly string[]): string {
  return words.map((word) => shellWord(word)).join(" ");
}

/** A word as a shell must be given it. */
function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
