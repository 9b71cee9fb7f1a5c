/** What `umbra trace info` and `umbra trace cut` print. */
import { count, counted, table } from "./text.ts";
import type { Paint } from "./text.ts";
import type { CutResult, TraceInfoResult } from "./trace-result.ts";

const MEBI = 2 ** 20;

/** What is in a trace, ending in a newline. */
export function traceInfoText(result: TraceInfoResult, paint: Paint): string {
  const { file, records, ramBytes, cpus, bytes, byType, byCpu, handovers, longestRun, features } = result;
  const occurring = features.filter((feature) => feature.count > 0);
  const absent = features.filter((feature) => feature.count === 0).map(({ name }) => name);
  const shares = byCpu.map((each, cpu) => `${count(each)} of CPU ${String(cpu)}`);
  return [
    paint.bold(`${file}: ${counted(records, "record")}, ${count(bytes)} bytes unpacked`),
    `${count(ramBytes / MEBI)} MiB of RAM, ${counted(cpus, "CPU")}: ${shares.join(", ")}`,
    `${counted(handovers, "change")} of CPU, at most ${counted(longestRun, "record")} of one in a row`,
    table(
      ["type", "records"],
      Object.entries(byType).map(([name, each]) => [name, count(each)]),
    ),
    table(
      ["occurs", "what it is", "number"],
      occurring.map(({ name, count: each, about }) => [name, about, count(each)]),
      2,
    ),
    `never occurs: ${absent.length === 0 ? "nothing of this kind" : absent.join(", ")}`,
    "",
  ].join("\n");
}

/** What was cut, ending in a newline. */
export function cutText({ file, out, kept, records, bytes }: CutResult): string {
  const added = records - kept;
  const what = added === 0 ? "" : `, and ${count(added)} to end it`;
  return `${out}: the first ${counted(kept, "record")} of ${file}${what}; ${count(bytes)} bytes\n`;
}
