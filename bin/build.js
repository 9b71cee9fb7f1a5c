/**
 * Makes dist/, the JavaScript of an installation: npm runs it when it packs or installs a clone. tsc renames imports; the
 * URLs by which threads and hooks are found are renamed here.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const OWN_URL = /(new URL\(\s*"\.{0,2}[\w./-]*)\.ts(",\s*import\.meta\.url\s*\))/g;

const compiler = findCompiler();
// Without the packages for development, as below somebody's node_modules, dist/ came along.
if (compiler !== undefined) build(compiler);

function findCompiler() {
  try {
    const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
    const file = join(dirname(manifest), "bin/tsc");
    return existsSync(file) ? file : undefined;
  } catch {
    return undefined;
  }
}

function build(tsc) {
  const dist = join(ROOT, "dist");
  rmSync(dist, { recursive: true, force: true });
  execFileSync(process.execPath, [tsc, "-p", join(ROOT, "tsconfig.build.json")], { stdio: "inherit" });
  cpSync(join(ROOT, "scenarios/traces"), join(dist, "scenarios/traces"), { recursive: true });
  cpSync(join(ROOT, "scenarios/costs"), join(dist, "scenarios/costs"), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(dist, "package.json"));
  for (const file of readdirSync(dist, { recursive: true })) {
    if (!file.endsWith(".js")) continue;
    const path = join(dist, file);
    const text = readFileSync(path, "utf8");
    const renamed = text.replaceAll(OWN_URL, "$1.js$2");
    if (renamed !== text) writeFileSync(path, renamed);
  }
}
