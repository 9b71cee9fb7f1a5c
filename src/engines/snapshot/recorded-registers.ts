/** Registers of the CPUs of a guest at rest, as a JSON file holds them. */
import { readBytes } from "../input-file.ts";
import { UsageError } from "../errors.ts";
import { integerField, isRecord, wrongField } from "../ndjson.ts";

const PAGE_BYTES = 4096;
const RAM_BYTES_MAX = 2 ** 31;
const HEX = /^0x[0-9a-f]{1,16}$/i;

/** What of a CPU's registers and its machine decides how it translates. */
export interface RecordedCpu {
  readonly levels: number;
  readonly ramBytes: number;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
}

/** The registers of one CPU. Throws UsageError when the file does not tell them. */
export function readRegisters(file: string, cpu: number): RecordedCpu {
  const value = parse(file, readBytes(file).toString("utf8"));
  if (!isRecord(value)) throw new UsageError(`${file}: not a JSON object`);
  const levels = integerField(file, value, "mode", 2, 4);
  const ramBytes = integerField(file, value, "mem_bytes", PAGE_BYTES, RAM_BYTES_MAX);
  if (ramBytes % PAGE_BYTES !== 0) {
    throw wrongField(file, "mem_bytes", `a multiple of ${PAGE_BYTES}`, ramBytes);
  }
  const { cpus } = value;
  if (!Array.isArray(cpus)) throw wrongField(file, "cpus", "a list", cpus);
  const found: unknown = cpus[cpu];
  if (!isRecord(found)) {
    throw new UsageError(`--cpu ${cpu}: ${file} has ${cpus.length} CPUs, numbered from 0`);
  }
  const register = (name: string): bigint => {
    const text = found[name];
    if (typeof text !== "string" || !HEX.test(text)) {
      throw wrongField(file, `cpus[${cpu}].${name}`, 'a hexadecimal number like "0x1000"', text);
    }
    return BigInt(text);
  };
  return {
    levels,
    ramBytes,
    cr0: register("cr0"),
    cr3: register("cr3"),
    cr4: register("cr4"),
    efer: register("efer"),
  };
}

function parse(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(`${file}: not JSON`);
  }
}
