import { randomInt } from "node:crypto";
import { env, stderr } from "node:process";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** A run in CI is the same every time; a run at a desk tries something new every time. */
const seed = env["UMBRA_SEED"] ?? (env["CI"] === undefined ? String(randomInt(2 ** 31)) : "20070417");

stderr.write(`properties run with seed ${seed}; to repeat: UMBRA_SEED=${seed} npm test\n`);

export default defineConfig({
  // Tests run the sources, not what installations get.
  resolve: {
    alias: [
      { find: /^umbra$/, replacement: fileURLToPath(new URL("src/index.ts", import.meta.url)) },
      { find: /^umbra\/vitest$/, replacement: fileURLToPath(new URL("src/vitest.ts", import.meta.url)) },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    testTimeout: 60_000,
    setupFiles: ["test/seed.ts"],
    env: { UMBRA_SEED: seed },
  },
});
