/** What `umbra trace modes` prints. */
import type { ModesResult } from "./modes-result.ts";
import { outcomeText } from "./outcome-text.ts";
import { count, counted, table } from "./text.ts";
import type { Paint } from "./text.ts";
import type { VerifyResult } from "./verify-result.ts";
import { mismatchesOf } from "./verify-text.ts";

/** A result as text, ending in a newline. */
export function modesText(result: ModesResult, paint: Paint): string {
  const { file, preset, records, differences, first } = result;
  const rest = differences - first.length;
  const wrong = [
    ["shadow", result.shadow],
    ["hap", result.hap],
  ] as const;
  return [
    paint.bold(
      `${file}: ${counted(records, "record")}, replayed in both modes of assistance, preset ${preset}`,
    ),
    table(["compared with each other", "number"], rows(result)),
    ...first.flat(),
    ...(rest > 0 ? [`and ${counted(rest, "difference")} more`] : []),
    ...wrong.flatMap(([mode, replay]) => replayLines(mode, replay, paint)),
    verdict(result, paint),
    "",
  ].join("\n");
}

function rows(result: ModesResult): string[][] {
  return [
    ["translations: the same frame", count(result.translations)],
    ["page faults: the same error code", count(result.faults)],
    ["rights in both TLBs", count(result.rights)],
    ["  write withheld by shadows, from a pagetable", count(result.withheldFromTables)],
    ["  write withheld by shadows, from what was one", count(result.withheldSinceTable)],
    ["  write withheld by shadows, while the guest's D is clear", count(result.withheldWhileClean)],
    ["no rights to compare: a device's, or emulated", count(result.withoutRights)],
    ["answered in one mode only", count(result.unanswered)],
    ["differences", count(result.differences)],
  ];
}

function replayLines(mode: string, result: VerifyResult, paint: Paint): string[] {
  const mismatches = mismatchesOf(result);
  const violations = result.violations.length;
  if (result.outcome !== "completed") return [paint.bad(`in ${mode} mode: ${outcomeText(result)}`)];
  if (mismatches + violations === 0) return [];
  const what = `${counted(mismatches, "mismatch", "mismatches")} with the recording, ${counted(violations, "violation")}`;
  return [paint.bad(`in ${mode} mode: ${what}; ${result.command}`)];
}

function verdict({ differences, unanswered, command }: ModesResult, paint: Paint): string {
  if (differences + unanswered === 0)
    return paint.good("both modes agree in every translation and every fault");
  return `${paint.bad(`${counted(differences, "difference")} between the modes`)}\nto see it again: ${command}`;
}
