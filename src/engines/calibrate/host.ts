/** The machine that is measured. */
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { version } from "node:process";
import type { CalibrateResult } from "../../report/types.ts";

const CACHES = "/sys/devices/system/cpu/cpu0/cache";
const LINE_BYTES = 64;
const KIB = 1024;
const LINES = { min: 16, max: 2 ** 24 };

/** Lines of a cache, and where the number is from. */
export interface CacheLinesRead {
  readonly value: number;
  readonly source: string;
}

/** Which processor, how many cores of it, and on what Node. */
export function thisHost(): CalibrateResult["host"] {
  const processor = cpus()[0]?.model.trim() ?? "";
  return {
    processor: processor === "" ? "an unnamed processor" : processor,
    cores: availableParallelism(),
    node: version,
  };
}

/** Lines of a core's own caches, and of the one that all share, as the system tells; else as most have them today. */
export function hostCaches(folder = CACHES): {
  readonly privateLines: CacheLinesRead;
  readonly sharedLines: CacheLinesRead;
} {
  const found = new Map<number, number>();
  for (const index of indices(folder)) {
    const [level, type, size] = ["level", "type", "size"].map((name) => text(`${folder}/${index}/${name}`));
    const kib = /^(\d+)K$/.exec(size ?? "")?.[1];
    if (kib === undefined || type === "Instruction") continue;
    found.set(Number(level), Number(kib));
  }
  return { privateLines: cacheOf(found, 2, 512, folder), sharedLines: cacheOf(found, 3, 32 * KIB, folder) };
}

/** Of a level; the power of two that is not above it, as the model's caches want it. */
function cacheOf(
  found: ReadonlyMap<number, number>,
  level: number,
  usual: number,
  folder: string,
): CacheLinesRead {
  const kib = found.get(level) ?? usual;
  const lines = 2 ** Math.floor(Math.log2((kib * KIB) / LINE_BYTES));
  const value = Math.min(LINES.max, Math.max(LINES.min, lines));
  const what = `${String(kib)} KiB of level ${String(level)} cache`;
  const source = found.has(level)
    ? `${what}: ${folder}`
    : `assumption, to be varied: ${what}; this system does not tell`;
  return { value, source };
}

function indices(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /^index\d+$/.test(name));
  } catch {
    return [];
  }
}

function text(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return undefined;
  }
}
