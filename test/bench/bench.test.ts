/** The benchmarks measure what they say: the machine's own counters show it. Nothing here is timed. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it, test } from "vitest";
import { proveRound } from "../../bench/benchmark.ts";
import { FIGURES } from "../../bench/figures.ts";
import { rows } from "../../bench/simulator-figures.ts";
import { duration } from "../../bench/two-vcpus.ts";
import { Counter } from "../../src/memory/counters.ts";

const SCHEMA: unknown = JSON.parse(
  readFileSync(new URL("../../docs/schema/bench.json", import.meta.url), "utf8"),
);

describe.each(FIGURES)("$name", ({ create }) => {
  it("takes the path that it names once an operation, and no other", () => {
    const benchmark = create();
    for (let round = 0; round < 3; round++) expect(proveRound(benchmark)).toEqual([]);
  });
});

test("a benchmark that takes another path than it says is found out", () => {
  const [tlbHit] = FIGURES;
  const benchmark = tlbHit?.create();
  if (benchmark === undefined) throw new Error("there are no figures");
  const run = benchmark.run.bind(benchmark);
  benchmark.run = () => {
    benchmark.hosted.vcpu.tlb.flush();
    return run();
  };
  const wrong = proveRound(benchmark);
  expect(wrong.some((line) => line.includes("shadow_walks"))).toBe(true);
  expect(benchmark.hosted.vcpu.counters.value(Counter.shadow_walks)).toBeGreaterThan(0);
});

test("two vCPUs that run one after the other are not taken for twice the work", () => {
  const alone = duration(Float64Array.of(0, 10));
  expect((2 * alone) / duration(Float64Array.of(0, 10, 10, 20))).toBe(1);
  expect((2 * alone) / duration(Float64Array.of(0, 10, 0, 10))).toBe(2);
});

test("the simulator's rows are met by many events, and by events that cost about the same for many vCPUs", () => {
  const costs = [
    [5e-7, 7.5e-7],
    [5.1e-7, 7e-7],
    [4e-7, 6.1e-7],
  ] as const;
  expect(costs.map(([few, many]) => rows("mcs", few, many).map(({ met }) => met))).toEqual([
    [true, true],
    [false, true],
    [true, false],
  ]);
});

test("the schema takes a result with and without a target, and nothing else", () => {
  const validate = new Ajv2020({ strict: true }).compile(SCHEMA as object);
  const speed = { name: "a program", unit: "points/s", value: 5e6, target: 5e6, met: true };
  const simulator = rows("mcs", 1e-6, 1.4e-6);
  const row = { name: "INVLPG", ratio: 8.65, target: null, met: null };
  expect(validate({ results: [row, { ...row, target: 4, met: true }], explorer: [speed], simulator })).toBe(
    true,
  );
  expect(validate({ results: [{ ...row, nanos: 1 }], explorer: [], simulator })).toBe(false);
});
