import { runOnOneThread } from "./one-thread.ts";
import { COUNTER_NAMES } from "../../src/memory/counters.ts";
const [name = "", formats = "2level,pae,4level", ops = "200000", ...sets] = process.argv.slice(2);
const { default: scenario } = await import(`../../scenarios/${name}.ts`);
const options = Object.fromEntries(
  sets.map((s) => {
    const [k, v] = s.split("=");
    return [k, Number.isNaN(Number(v)) ? (v === "true" ? true : v === "false" ? false : v) : Number(v)];
  }),
);
for (const format of formats.split(",")) {
  const t = performance.now();
  const run = runOnOneThread({ scenario, format, operations: Number(ops), options } as never);
  const ms = performance.now() - t;
  console.log(
    name,
    format,
    JSON.stringify(options),
    run.end,
    "ms",
    ms.toFixed(0),
    "ops",
    run.hosted.vcpu.operations,
    run.findings.slice(0, 2).map((f) => f.message),
    run.broken.slice(0, 3),
  );
  console.log(
    COUNTER_NAMES.map((n, i) => [n, run.hosted.vcpu.counters.value(i)])
      .filter(([, v]) => v !== 0)
      .map(([n, v]) => `${n}=${v}`)
      .join(" "),
  );
}
