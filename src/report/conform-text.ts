/** What `umbra conform` prints. */
import type { ConformResult } from "./conform-result.ts";
import { count, counted } from "./text.ts";

const NOUNS = { walks: "recorded walk", access: "recorded case" } as const;

/** A result as text, ending in a newline. */
export function conformText({ file, kind, cases, mismatches, first }: ConformResult): string {
  const lines = [`${file}: ${counted(cases, NOUNS[kind])}, ${count(mismatches)} answered differently`];
  for (const each of first) {
    lines.push(
      `line ${String(each.line)}: ${each.case}`,
      `  entries   ${each.entries}`,
      `  expected  ${each.expected}`,
      `  got       ${each.got}`,
    );
  }
  if (mismatches > first.length) lines.push(`and ${count(mismatches - first.length)} more`);
  return `${lines.join("\n")}\n`;
}
