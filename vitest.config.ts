import { randomInt } from "node:crypto";
import { globSync } from "node:fs";
import { env, stderr } from "node:process";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** A run in CI is the same every time; a run at a desk tries something new every time. */
const seed = env["UMBRA_SEED"] ?? (env["CI"] === undefined ? String(randomInt(2 ** 31)) : "20070417");

stderr.write(`properties run with seed ${seed}; to repeat: UMBRA_SEED=${seed} npm test\n`);

// Threads and processes that tests start take their compile cache from the environment alone: they start twice as fast.
env["NODE_COMPILE_CACHE"] ??= fileURLToPath(new URL("node_modules/.cache/v8", import.meta.url));

/** When to give up, on a machine that is busy with ten other things: nothing needs to be that fast. */
const PATIENCE_MS = 180_000;

const ALL = ["test/**/*.test.ts"];

/** What these show depends on how threads meet, or on when something happens: they have the computer to themselves. */
const ALONE = [
  "test/bench/**/*.test.ts",
  "test/cli/interrupt.test.ts",
  "test/cli/stress.test.ts",
  "test/engines/calibrate/calibrate.test.ts",
  "test/engines/explore/hangs.test.ts",
  "test/engines/lock-waits.test.ts",
  "test/engines/simulate/real-points.test.ts",
  "test/engines/stress/**/*.test.ts",
  "test/explore/mutants.test.ts",
  "test/hypervisor/wild-guests.test.ts",
  "test/locks/threads.test.ts",
  "test/machine/flush.test.ts",
  "test/memory/**/*.test.ts",
  "test/scenarios/scenarios.test.ts",
  "test/scenarios/p2m-types.test.ts",
  "test/soak/on-threads.test.ts",
  "test/soak/soak.test.ts",
];
for (const pattern of ALONE) {
  const isThere = globSync(pattern, { cwd: import.meta.dirname }).length > 0;
  if (!isThere) throw new Error(`${pattern} is to run alone, but there is no such test`);
}

export default defineConfig({
  // Tests run the sources, not what installations get.
  resolve: {
    alias: [
      { find: /^umbra$/, replacement: fileURLToPath(new URL("src/index.ts", import.meta.url)) },
      { find: /^umbra\/vitest$/, replacement: fileURLToPath(new URL("src/vitest.ts", import.meta.url)) },
    ],
  },
  test: {
    pool: "forks",
    testTimeout: PATIENCE_MS,
    hookTimeout: PATIENCE_MS,
    setupFiles: ["test/seed.ts"],
    env: { UMBRA_SEED: seed },
    projects: [
      {
        extends: true,
        test: {
          name: "side by side",
          include: ALL,
          exclude: ALONE,
          maxWorkers: "100%",
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: "alone", include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
