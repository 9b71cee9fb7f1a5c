/**
 * `umbra trace modes`: one recorded guest in both modes of assistance, and each access held against the same access in the
 * other. Both must end in the same frame or fault alike, and where both leave a translation in the TLB its rights are compared.
 * Shadows may withhold write access that hap grants, for a reason that is looked up at that moment: the page is a pagetable,
 * the guest's own entry is clean, or the page was a pagetable, as the trace has it, and nobody has stored to it since. They may
 * grant nothing that hap does not.
 */
import { frameOfAddress } from "../../guest/trace/address.ts";
import { TraceCursor } from "../../guest/trace/cursor.ts";
import { RecordType } from "../../guest/trace/record.ts";
import { Status } from "../../machine/exits.ts";
import { TlbFlag } from "../../machine/tlb.ts";
import type { ModesResult } from "../../report/types.ts";
import { UsageError } from "../errors.ts";
import { DEFAULT_PRESET } from "../machine-settings.ts";
import { loadTrace, wordsOf } from "./load-trace.ts";
import type { LoadedTrace } from "./load-trace.ts";
import { ModeAnswers } from "./mode-answers.ts";
import type { ModeAnswer } from "./mode-answers.ts";
import { SHOWN_MAX } from "./outcome.ts";
import { describeAccess } from "./record-text.ts";
import type { ReplayHooks } from "./replay-run.ts";
import { verifyTrace } from "./verify.ts";

const WRITABLE = TlbFlag.writable;

/** A comparison as people ask for it: texts of the command line. */
export interface ModesRequest {
  readonly file: string;
  /** What shadow mode runs with; hap has nothing of it. */
  readonly preset?: string | undefined;
  readonly set?: readonly string[] | undefined;
}

/** Replays a trace in both modes and compares. Throws UsageError for bad input and for what cannot be asked. */
export async function compareModes(
  { file, preset = DEFAULT_PRESET, set = [] }: ModesRequest,
  hooks: ReplayHooks = {},
): Promise<ModesResult> {
  if (set.some((each) => each.startsWith("paging=")))
    throw new UsageError("--set paging: the guest is replayed in both modes");
  const trace = loadTrace(file);
  const memories = [ModeAnswers.memoryFor(trace.records), ModeAnswers.memoryFor(trace.records)] as const;
  const replay = (part: 0 | 1, mode: string): ReturnType<typeof verifyTrace> =>
    verifyTrace(
      { file, preset, set: [...set, `paging=${mode}`] },
      {
        ...hooks,
        answers: memories[part],
        onProgress: (fraction) => hooks.onProgress?.((part + fraction) / 2),
      },
    );
  const shadow = await replay(0, "shadow");
  const hap = await replay(1, "hap");
  const settings = set.map((each) => ` --set ${each}`).join("");
  return {
    engine: "modes",
    command: `umbra trace modes ${file} --preset ${preset}${settings}`,
    file,
    preset,
    records: trace.records,
    ...new Comparison(trace, new ModeAnswers(memories[0]), new ModeAnswers(memories[1])).compare(),
    shadow,
    hap,
  };
}

type Counts = Omit<
  ModesResult,
  "engine" | "command" | "file" | "preset" | "records" | "shadow" | "hap" | "first"
>;

/** Holds the answers of two replays against each other. */
class Comparison {
  readonly #trace: LoadedTrace;
  readonly #shadow: ModeAnswers;
  readonly #hap: ModeAnswers;
  /** Pages that have been tables by now. */
  readonly #tables = new Set<number>();
  readonly #first: string[][] = [];
  readonly #counts: { -readonly [Name in keyof Counts]: number } = {
    translations: 0,
    faults: 0,
    rights: 0,
    withheldFromTables: 0,
    withheldSinceTable: 0,
    withheldWhileClean: 0,
    withoutRights: 0,
    unanswered: 0,
    differences: 0,
  };

  constructor(trace: LoadedTrace, shadow: ModeAnswers, hap: ModeAnswers) {
    this.#trace = trace;
    this.#shadow = shadow;
    this.#hap = hap;
  }

  compare(): Counts & Pick<ModesResult, "first"> {
    for (const record = new TraceCursor(wordsOf(this.#trace)); record.next();) {
      if (record.type === RecordType.ptpage) this.#tables.add(frameOfAddress(record.xLow, record.xHigh));
      const shadow = this.#shadow.answerTo(record.index);
      const hap = this.#hap.answerTo(record.index);
      if (shadow === undefined && hap === undefined) continue;
      if (shadow === undefined || hap === undefined) this.#counts.unanswered++;
      else this.#hold(record, shadow, hap);
    }
    return { ...this.#counts, first: this.#first };
  }

  #hold(record: TraceCursor, shadow: ModeAnswer, hap: ModeAnswer): void {
    const counts = this.#counts;
    if (shadow.status === Status.done) counts.translations++;
    else counts.faults++;
    const isSame =
      shadow.status === hap.status && shadow.errorCode === hap.errorCode && shadow.frame === hap.frame;
    if (isSame && this.#haveRightsFor(shadow, hap)) return;
    counts.differences++;
    if (this.#first.length < SHOWN_MAX)
      this.#first.push([
        describeAccess(record),
        `  in shadow mode ${answerText(shadow)}`,
        `  in hap mode    ${answerText(hap)}`,
      ]);
  }

  /** Whether the rights are the same, but for what shadows withhold with reason. */
  #haveRightsFor(shadow: ModeAnswer, hap: ModeAnswer): boolean {
    const counts = this.#counts;
    if (shadow.status !== Status.done) return true;
    if (shadow.rights < 0 || hap.rights < 0) {
      counts.withoutRights++;
      return true;
    }
    counts.rights++;
    if (shadow.rights === hap.rights) return true;
    if ((shadow.rights | WRITABLE) !== hap.rights) return false;
    if (shadow.isTable) counts.withheldFromTables++;
    else if (shadow.isClean) counts.withheldWhileClean++;
    else if (this.#tables.has(shadow.frame)) counts.withheldSinceTable++;
    else return false;
    return true;
  }
}

function answerText({ status, errorCode, frame, rights, isTable, isClean }: ModeAnswer): string {
  if (status === Status.pageFault) return `it faults with error code ${errorCode}`;
  if (status !== Status.done) return "it raises #GP";
  const where = `it ends in frame 0x${frame.toString(16)}`;
  if (rights < 0) return `${where}, and the TLB has nothing`;
  const names = `${(rights & WRITABLE) === 0 ? "-" : "w"}${(rights & TlbFlag.user) === 0 ? "-" : "u"}${(rights & TlbFlag.executable) === 0 ? "-" : "x"}`;
  const what = `${isTable ? ", a pagetable" : ""}${isClean ? ", D is clear" : ""}`;
  return `${where} with rights ${names}${what}`;
}
