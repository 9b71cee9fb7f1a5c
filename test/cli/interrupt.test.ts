/** Commands that work in one go end at once when they are interrupted, under the launcher too. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { gunzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { ROOT } from "../source.ts";

const DATA = join(ROOT, "test/data");
const BIN = join(ROOT, "bin/umbra.js");

const folder = mkdtempSync(join(tmpdir(), "umbra-interrupt-"));
afterAll(() => rmSync(folder, { recursive: true }));

function repeated(name: string, file: string, times: number): string {
  const path = join(folder, name);
  writeFileSync(
    path,
    gunzipSync(readFileSync(join(DATA, file)))
      .toString()
      .repeat(times),
  );
  return path;
}

/** Starts `umbra` as the launcher does, with a channel to it; the exit code after an interrupt, and all that it wrote. */
async function interrupted(args: readonly string[]): Promise<{ code: number | null; text: string }> {
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { ...process.env, UMBRA_STARTED: "1" },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
  }
  const timer = setTimeout(() => child.kill("SIGINT"), 1500);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  clearTimeout(timer);
  return { code, text };
}

test("conform", async () => {
  const walks = repeated("walks.ndjson", "walks-sample.ndjson.gz", 60);
  expect(await interrupted(["conform", walks])).toEqual({ code: 130, text: "" });
});

test("snapshot verify", async () => {
  const at = join(DATA, "snapshot/4level");
  const listing = repeated("info-tlb.txt", "snapshot/4level/info-tlb-cpu0.txt.gz", 40);
  const files = [join(at, "tables.bin.gz"), "--regs", join(at, "regs.json"), "--info-tlb", listing];
  expect(await interrupted(["snapshot", "verify", ...files, "--cpu", "0"])).toEqual({ code: 130, text: "" });
});
