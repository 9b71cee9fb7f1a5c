/** Loops that no scheduler can interrupt are told, with the execution that hangs; what merely takes long is not. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { runExplore } from "../../../src/engines/explore/campaign.ts";
import { planExplore } from "../../../src/engines/explore/explore-plan.ts";
import { SCHEDULER } from "../../../src/engines/explore/scheduler.ts";
import { Pulse, Watchdog, pulsesOf, withPulse } from "../../../src/engines/explore/pulse.ts";
import { exploreExitCode } from "../../../src/cli/explore.ts";
import { ExitCode } from "../../../src/cli/context.ts";
import { explore } from "../../../src/index.ts";

const folder = mkdtempSync(join(tmpdir(), "umbra-hangs-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("a watchdog", () => {
  test("tells of a thread that is silent for longer than its patience, once, and of no other", () => {
    const pulses = pulsesOf(2);
    const watchdog = new Watchdog(pulses, 2);
    const [silent, lively] = [new Pulse(pulses, 0), new Pulse(pulses, 1)];
    const told = [0, 500, 1000, 1500, 2000, 2500, 3000, 3500].map((now) => {
      if (now === 500) silent.begin(17);
      lively.beat();
      return watchdog.look(now);
    });
    expect(told).toEqual([[], [], [], [], [], [], [{ thread: 0, iteration: 17 }], []]);
  });

  test("does not wait for who has not begun or has ended, nor through a computer's sleep", () => {
    const pulses = pulsesOf(2);
    const watchdog = new Watchdog(pulses, 2);
    const pulse = new Pulse(pulses, 1);
    pulse.begin(0);
    expect([0, 1000, 1e9].map((now) => watchdog.look(now))).toEqual([[], [], []]);
    pulse.end();
    expect([2e9, 3e9, 4e9, 5e9].map((now) => watchdog.look(now))).toEqual([[], [], [], []]);
  });
});

test("executions beat however short they are: a failure that is cut down for long is no silence", () => {
  const pulses = pulsesOf(1);
  const watchdog = new Watchdog(pulses, 2);
  const told = withPulse(new Pulse(pulses, 0), () =>
    [0, 1000, 2000, 3000, 4000].map((now) => {
      if (now < 4000) SCHEDULER.begin();
      return watchdog.look(now);
    }),
  );
  expect(told.flat()).toEqual([]);
  expect(SCHEDULER.pulse).toBeNull();
});

describe("a program of one's own", () => {
  const program = pathToFileURL(
    file(
      "program.ts",
      `import { cells, spawn } from "umbra";
export default function main(input) {
  const a = cells(1);
  const other = spawn(() => { Atomics.store(a, 0, 1); });
  if (Atomics.load(a, 0) === input) for (;;);
  other.join();
}`,
    ),
  );

  test("that hangs in some schedule is told with its execution, and the next exploration goes on", async () => {
    const error: unknown = await explore(program, { input: 1, patience: 1 }).catch((each: unknown) => each);
    expect(error).toMatchObject({ name: "RunError" });
    expect(String(error)).toMatch(
      /program\.ts: worker 0 hangs: execution \d+ of seed 1 came to no shared access for 1 s; a loop without one/,
    );
    expect(await explore(program, { input: 2, patience: 1 })).toMatchObject({ failure: null });
  });

  test("that takes long, but comes to shared accesses, does not hang", async () => {
    const long = file(
      "long.ts",
      `import { cells } from "umbra";
export default function main() { const a = cells(1); for (let i = 0; i < 600_000; i++) Atomics.add(a, 0, 1); }`,
    );
    const options = { patience: 5, steps: 1_000_000, executions: 1 };
    expect(await explore(pathToFileURL(long), options)).toMatchObject({ failure: null, capped: 0 });
  });
});

test("a scenario that hangs ends the search with the worker's number, and exit code 5", async () => {
  const scenario = file(
    "hangs.ts",
    `import { defineScenario } from "umbra";
export default defineScenario({
  name: "hangs", about: "a loop without an access", guests: ["4level"],
  vcpus: { min: 1, max: 2, default: 2 }, machine: { ramPages: 512 }, options: {}, boot: () => ({}),
  programs: [(cpu) => { cpu.load32(0x6000); for (;;); }],
});
`,
  );
  const plan = await planExplore({ scenario, seed: "3", schedules: "9", workers: "2", failures: folder });
  const result = await runExplore({ ...plan, patience: 1 });
  expect(result).toMatchObject({ outcome: "stuck", executions: 0 });
  expect(result.reason).toMatch(
    /^worker [01] hangs: execution [01] of seed 3 came to no shared access for 1 s/,
  );
  expect(exploreExitCode(result)).toBe(ExitCode.failed);
});
