/** A packed copy below somebody's node_modules, where Node runs no TypeScript, explores a program of theirs. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { env, execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const NAME = "umbra-0.1.0.tgz";

/** What `npm install` would put beside it, from the packages at hand: a test has no network. */
function linkDependencies(modules: string): void {
  for (const name of readdirSync(join(ROOT, "node_modules"))) {
    if (name.startsWith(".") || name === "umbra") continue;
    symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
  }
}

test("a packed copy explores a user's program", () => {
  const folder = mkdtempSync(join(tmpdir(), "umbra-install-"));
  try {
    const npmEnv = { ...env, npm_config_offline: "true", PATH: `${dirname(execPath)}:${env["PATH"] ?? ""}` };
    const npm = { cwd: ROOT, env: npmEnv, stdio: "pipe" } as const;
    execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], npm);
    const modules = join(folder, "node_modules");
    mkdirSync(join(modules, "umbra"), { recursive: true });
    execFileSync("tar", ["-xzf", join(folder, NAME), "-C", join(modules, "umbra"), "--strip-components=1"]);
    linkDependencies(modules);

    copyFileSync(join(ROOT, "docs/examples/seqlock.ts"), join(folder, "seqlock.ts"));
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    writeFileSync(
      join(folder, "run.js"),
      `import { explore } from "umbra";
const program = new URL("./seqlock.ts", import.meta.url);
const found = [];
for (const isCorrect of [true, false]) {
  const { failure } = await explore(program, { input: { isCorrect }, executions: 500 });
  found.push(failure?.violations[0].message ?? null);
  if (failure !== null) found.push(failure.token);
}
process.stdout.write(JSON.stringify(found));`,
    );
    const output = execFileSync(execPath, ["run.js"], { cwd: folder, encoding: "utf8" });
    const umbra = join(modules, "umbra/bin/umbra.js");
    const stress = ["stress", "exec-exit", "--seconds", "1", "--vcpus", "2"];
    expect(execFileSync(execPath, [umbra, ...stress], { cwd: folder, encoding: "utf8" })).toMatch(
      /exec-exit/,
    );
    const search = ["explore", "exec-exit", "--schedules", "2", "--seed", "1"];
    expect(execFileSync(execPath, [umbra, ...search], { cwd: folder, encoding: "utf8" })).toMatch(/Never/);
    const [nothing, message, token] = JSON.parse(output) as (string | null)[];
    expect(nothing).toBeNull();
    expect(message).toMatch(/^half a pair was read: /);
    for (const failure of [token ?? "", "failures/latest"]) {
      const replay = spawnSync(execPath, [umbra, "replay", failure], { cwd: folder, encoding: "utf8" });
      expect(replay.stdout).toMatch(/main: half a pair was read[^]*fails again with assertion/);
      expect(replay.status).toBe(1);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
