/** How numbers, tables and emphasis look in every report for people. */
import { styleText } from "node:util";
import Table from "cli-table3";

/** Emphasis, or the lack of it: a report is the same text with and without. */
export interface Paint {
  bold(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  faint(text: string): string;
}

/** For files, pipes, and people who set NO_COLOR. */
export const PLAIN: Paint = {
  bold: (text) => text,
  good: (text) => text,
  bad: (text) => text,
  faint: (text) => text,
};

/** For terminals. */
export const COLOURED: Paint = {
  bold: (text) => styleText("bold", text, { validateStream: false }),
  good: (text) => styleText("green", text, { validateStream: false }),
  bad: (text) => styleText("red", text, { validateStream: false }),
  faint: (text) => styleText("dim", text, { validateStream: false }),
};

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A count, in groups of three digits. */
export function count(value: number): string {
  return grouped.format(value);
}

/** A count with its noun. */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

/** Seconds, with as many digits as matter. */
export function seconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} s`;
}

/** Nanoseconds as microseconds, the unit of Linux' lock statistics. */
export function micros(nanos: number): string {
  const value = nanos / 1000;
  return value >= 10_000 ? count(value) : value.toFixed(2);
}

/** A part of a whole, in percent. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** A ratio; a dash where there is none. */
export function ratio(value: number | null): string {
  if (value === null) return "-";
  return value >= 100 ? count(value) : value.toPrecision(3);
}

/** Lines of a table whose first columns are as many as `left` names and the rest numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const drawn = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column < left ? "left" : "right")),
    style: { head: [], border: [], "padding-left": 0, "padding-right": 2 },
    chars: NO_LINES,
  });
  drawn.push(...rows.map((row) => [...row]));
  return indent(
    drawn
      .toString()
      .split("\n")
      .map((line) => line.trimEnd())
      .join("\n"),
  );
}

/** A text with every line moved in by two. */
export function indent(text: string): string {
  return text
    .split("\n")
    .map((line) => (line === "" ? line : `  ${line}`))
    .join("\n");
}

const NO_LINES = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "",
};

/** A line to be copied as a whole: it is not broken, however long it is. */
const COPIED = /umbra1:|umbra explore /;

/** Lines of at most `width` characters: longer ones are broken at spaces, their rest indented. */
export function fitted(lines: readonly string[], width: number): string[] {
  const single = lines.flatMap((line) => line.split("\n"));
  return single.flatMap((line) => (line.length <= width || COPIED.test(line) ? [line] : broken(line, width)));
}

function broken(line: string, width: number): string[] {
  const margin = " ".repeat(Math.min(width >> 1, line.length - line.trimStart().length + 2));
  const parts: string[] = [];
  let rest = line;
  while (rest.length > width) {
    const space = rest.lastIndexOf(" ", width);
    const at = space > margin.length ? space : width;
    parts.push(rest.slice(0, at).trimEnd());
    rest = margin + rest.slice(at).trimStart();
  }
  return [...parts, rest];
}
