/** Reports, whole: a change of what people read is a change of this file. */
import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { compareReport } from "../../src/report/compare-report.ts";
import { listReport } from "../../src/report/list-report.ts";
import { stressReport, verdict } from "../../src/report/stress-report.ts";
import { COLOURED, counted, micros, PLAIN, ratio, seconds } from "../../src/report/text.ts";
import { COMPARISON, HEALTHY, STUCK } from "./results.ts";

test("a healthy run", () => {
  expect(`\n${stressReport(HEALTHY, PLAIN)}`).toMatchInlineSnapshot(`
    "
    demand-paging, 4level guest, 2 vCPUs, preset talk, seed 42
    ran 9.88 s; parked 0.12 s for 101 audits; torn down and searched for leaks
      vCPU  program    end       operations  per second  faults  per second
      0     toucher    finished   1,000,000     101,256   1,500         152
      1     toucher    stopped    2,000,000     202,511   3,000         304
      2     toolstack  finished           7           1       0           0
      all                         3,000,000     303,767   4,500         456
    locks (times in µs; holds are sampled, one in 64)
      lock       con-  conten-  waittime                                      acq-   acqui-  holdtime                        owner    held  waited
              bounces    tions       min     max   total      avg   p99 <  bounces  sitions       min   max   total   avg  changes             for
      paging       12       12      1.20  34,568  45,679  3806.57  33,554       34    5,678      0.33  7.89  123.46  1.40       34  12.3 %   4.6 %
      waits for  at          while it is held at  waits    total
      paging     page_fault  invlpg                   9   40,000
      paging     domctl      page_fault               3  5678.90
      page_fault (shadow/fault.ts:119, 133)
      invlpg (shadow/invlpg.ts:45)
      waits for  of      waits   total
      paging     vCPU 1      5  30,000
      paging     vCPU 0      7  15,679
    counters (those that are not 0; umbra list --counters explains them)
      fault                          4,500   tlb_hits                   2,990,000
      prefetch                          31   exits                          4,501
    no violations
    "
  `);
});

test("a run that is stuck", () => {
  expect(`\n${stressReport(STUCK, PLAIN)}`).toMatchInlineSnapshot(`
    "
    demand-paging, 4level guest, 2 vCPUs, preset talk, seed 42
    ran 9.88 s; parked 0.12 s for 1 audit; not torn down
      vCPU  program    end       operations  per second  faults  per second
      0     toucher    finished   1,000,000     101,256   1,500         152
      1     toucher    stopped    2,000,000     202,511   3,000         304
      2     toolstack  finished           7           1       0           0
      all                         3,000,000     303,767   4,500         456
    locks (times in µs; holds are sampled, one in 64)
      lock       con-  conten-  waittime                                      acq-   acqui-  holdtime                        owner    held  waited
              bounces    tions       min     max   total      avg   p99 <  bounces  sitions       min   max   total   avg  changes             for
      paging       12       12      1.20  34,568  45,679  3806.57  33,554       34    5,678      0.33  7.89  123.46  1.40       34  12.3 %   4.6 %
      waits for  at          while it is held at  waits    total
      paging     page_fault  invlpg                   9   40,000
      paging     domctl      page_fault               3  5678.90
      page_fault (shadow/fault.ts:119, 133)
      invlpg (shadow/invlpg.ts:45)
      waits for  of      waits   total
      paging     vCPU 1      5  30,000
      paging     vCPU 0      7  15,679
    counters (those that are not 0; umbra list --counters explains them)
      fault                          4,500   tlb_hits                   2,990,000
      prefetch                          31   exits                          4,501
    who waits for what
      vCPU 0 (toucher) is running, last seen at a page fault, last fault at 0xffff888000001000; 1 operation, none for 10.0 s; waits for the paging lock, which vCPU 1 took at page_fault; holds the p2m lock taken at p2m_write and the heap lock taken at heap_alloc
      vCPU 1 (toucher) is ended, last seen at guest code, last fault at 0x00000000; 2,000,000 operations, none for 0.00 s
    stuck: not everybody parked for an audit within 10 s: vCPU 0 (toucher)
    1 violation
      deadlock on vCPU 0: vCPU 0 waits for vCPU 0.
    to see it again: umbra stress demand-paging --vcpus 2 --seed 42
    "
  `);
});

test("a comparison", () => {
  expect(`\n${compareReport(COMPARISON, PLAIN)}`).toMatchInlineSnapshot(`
    "
    demand-paging, 4level guest, 2 vCPUs, preset talk, seed 42, against preset talk-before
    5 slices of talk, 5 slices of talk-before, in turn; 120 audits
                              talk  talk-before  ratio
      ran                   5.01 s       5.02 s
      operations a second  199,600       99,601  0.499
      faults a second          200          797   3.99
      counters by 1,000 operations   talk  talk-before  ratio
      fault                          1.00         8.00   8.00
      prefetch                      0.500            0   0.00
    no violations
    "
  `);
});

test("a list", () => {
  const list = listReport(
    {
      scenarios: [
        {
          name: "demand-paging",
          about: "pages come when they are touched",
          guests: ["4level", "pae"],
          vcpus: { min: 1, max: 16, default: 2 },
          options: { pages: 64, kind: "plain" },
          choices: { kind: ["plain", "odd"] },
        },
      ],
      traces: ["scenarios/traces/pae.trace.gz"],
      options: [{ name: "prefetch", values: "on | off", default: "on", about: "look ahead" }],
      presets: [
        { name: "talk-before", on: [] },
        { name: "talk", on: ["prefetch", "pinning"] },
      ],
      counters: [{ name: "fault", about: "calls of the page-fault handler" }],
    },
    PLAIN,
  );
  expect(`\n${list}`).toMatchInlineSnapshot(`
    "
    demand-paging
      pages come when they are touched
      4level, pae; 1 to 16 vCPUs; options pages=64, kind=plain (plain | odd)
    recorded guests
      scenarios/traces/pae.trace.gz
    settings of every machine, for --set
      prefetch=on | off
        look ahead; on unless set
    presets, for --preset and --vs
      talk-before  every switch off
      talk         on: prefetch, pinning
    counters
      fault                  calls of the page-fault handler
    "
  `);
});

test("colours change nothing but the colour", () => {
  for (const result of [HEALTHY, STUCK]) {
    expect(stressReport(result, COLOURED)).not.toBe(stressReport(result, PLAIN));
    expect(stripVTControlCharacters(stressReport(result, COLOURED))).toBe(stressReport(result, PLAIN));
  }
});

test("of very many violations the first are shown", () => {
  const violations = Array.from({ length: 25 }, (_, index) => ({
    check: "memory",
    vcpu: -1,
    message: String(index),
  }));
  const lines = verdict({ ...HEALTHY, violations }, PLAIN).split("\n");
  expect(lines).toHaveLength(23);
  expect(lines.slice(-3)).toEqual([
    "  memory: 19",
    "  and 5 more: --json FILE has them all",
    "to see it again: umbra stress demand-paging --vcpus 2 --seed 42",
  ]);
});

test.each([
  { text: counted(1, "audit"), shown: "1 audit" },
  { text: counted(1234, "audit"), shown: "1,234 audits" },
  { text: counted(0, "mismatch", "mismatches"), shown: "0 mismatches" },
  { text: seconds(0.004), shown: "0.00 s" },
  { text: seconds(12.34), shown: "12.3 s" },
  { text: micros(0), shown: "0.00" },
  { text: micros(1234.5), shown: "1.23" },
  { text: micros(12_345_678), shown: "12,346" },
  { text: ratio(null), shown: "-" },
  { text: ratio(0.04567), shown: "0.0457" },
  { text: ratio(12345.6), shown: "12,346" },
])("$shown", ({ text, shown }) => {
  expect(text).toBe(shown);
});
