/**
 * The instruction at RIP: its bytes are fetched each time, in units of 8, no more of them than it takes to know it; what
 * bytes mean is remembered by the bytes themselves.
 */
import { Status } from "../exits.ts";
import { threadDecoder } from "./iced.ts";
import { Instruction, InstructionKind } from "./instruction.ts";
import type { MemoryPort } from "./memory-port.ts";
import type { Registers } from "./registers.ts";

const STATUS_DONE = Status.done;
const INCOMPLETE = InstructionKind.incomplete;
/** No instruction is longer: it raises #GP (SDM vol. 2, 2.3.11; vol. 3, 6.15). */
const BYTES_MAX = 15;
const UNIT_BYTES = 8;
const KEY_WORDS = 5;
const ENTRIES = 256;
/** No instruction is two bytes short of more than this. */
const UNITS_MAX = 3;

/** Fetches and decodes for one port. */
export class InstructionFetch {
  /** What `fetchInstruction` found; valid until the next call. */
  instruction = new Instruction();
  readonly #registers: Registers;
  readonly #port: MemoryPort;
  /** Units as fetched, from the one that RIP is in. */
  readonly #units = new Int32Array(2 * UNITS_MAX + 2);
  /** 16 bytes from RIP on, zero where they were not fetched, and how they are to be read. */
  readonly #key = new Int32Array(KEY_WORDS);
  readonly #keys = new Int32Array(ENTRIES * KEY_WORDS);
  readonly #instructions: (Instruction | undefined)[] = Array.from({ length: ENTRIES }, () => undefined);

  constructor(registers: Registers, port: MemoryPort) {
    this.#registers = registers;
    this.#port = port;
  }

  /** Decodes the instruction at RIP. Returns a `Status`: that of a fetch if one faults. */
  fetchInstruction(): number {
    const { ripLow, ripHigh } = this.#registers;
    const offset = ripLow & (UNIT_BYTES - 1);
    let low = ripLow & -UNIT_BYTES;
    let high = ripHigh;
    this.#units.fill(0);
    for (let unit = 0; unit < UNITS_MAX; unit++) {
      const status = this.#port.fetchUnit(low, high);
      if (status !== STATUS_DONE) return status;
      this.#units[2 * unit] = this.#port.resultLow;
      this.#units[2 * unit + 1] = this.#port.resultHigh;
      const count = Math.min(UNIT_BYTES * (unit + 1) - offset, BYTES_MAX);
      this.instruction = this.#decoded(offset, count);
      if (this.instruction.kind !== INCOMPLETE || count === BYTES_MAX) break;
      low = (low + UNIT_BYTES) | 0;
      if (low === 0 && this.#registers.codeBits === 64) high = (high + 1) | 0;
    }
    return this.instruction.kind === INCOMPLETE ? Status.generalProtection : STATUS_DONE;
  }

  #decoded(offset: number, count: number): Instruction {
    const key = this.#key;
    this.#cutKey(offset, count);
    const place = hashOf(key) & (ENTRIES - 1);
    const known = this.#instructions[place];
    if (known !== undefined && this.#isAt(place)) return known;
    const instruction = new Instruction();
    threadDecoder().decode(this.#registers.codeBits, new Uint8Array(key.buffer), count, instruction);
    this.#keys.set(key, place * KEY_WORDS);
    this.#instructions[place] = instruction;
    return instruction;
  }

  /** Moves the bytes from RIP on to the beginning of the key. */
  #cutKey(offset: number, count: number): void {
    const units = this.#units;
    const first = offset >>> 2;
    const shift = (offset & 3) * 8;
    for (let word = 0; word < 4; word++) {
      const from = first + word;
      let value = (units[from] ?? 0) >>> shift;
      if (shift !== 0) value |= (units[from + 1] ?? 0) << (32 - shift);
      const left = count - 4 * word;
      this.#key[word] = left >= 4 ? value : left <= 0 ? 0 : value & ((1 << (8 * left)) - 1);
    }
    this.#key[4] = (this.#registers.codeBits << 4) | count;
  }

  #isAt(place: number): boolean {
    for (let word = 0; word < KEY_WORDS; word++)
      if (this.#keys[place * KEY_WORDS + word] !== this.#key[word]) return false;
    return true;
  }
}

function hashOf(key: Int32Array): number {
  let hash = 0;
  for (let word = 0; word < KEY_WORDS; word++) hash = Math.imul(hash ^ (key[word] ?? 0), 0x9e37_79b1);
  return hash ^ (hash >>> 15);
}
