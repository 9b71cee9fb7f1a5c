/** Accesses to entries by machine code: what `EntryAccess` does by single operations, by instructions of its kernel. */
import type { Cpu } from "../cpu.ts";
import { Register } from "../hardware.ts";
import type { GuestFormat } from "../scenario.ts";
import { EntryAccess } from "./entry-access.ts";
import { entryCode } from "./entry-code.ts";
import type { EntryCode, RoutineName } from "./entry-code.ts";
import { highHalf } from "../memory-operations.ts";

const PRESENT = 1;
const WRITABLE = 2;
const { rax: RAX, rbx: RBX, rcx: RCX, rdx: RDX, rdi: RDI, rsi: RSI } = Register;

/** One vCPU's accesses to entries, by the code that lies at an address. Reads are the same as ever. */
export class MachineCodeEntries extends EntryAccess {
  readonly #cpu: Cpu;
  readonly #format: GuestFormat;
  readonly #address: number;
  readonly #code: EntryCode;

  constructor(cpu: Cpu, format: GuestFormat, address: number) {
    super(cpu, format);
    this.#cpu = cpu;
    this.#format = format;
    this.#address = address;
    this.#code = entryCode(format);
  }

  override writeEntry(address: number, low: number, high: number): void {
    const cpu = this.#cpu;
    cpu.setGeneral(RAX, low, high);
    if (this.#format !== "pae") {
      this.#runRoutine("store", address);
      return;
    }
    cpu.setGeneral(RDX, high);
    if ((low & PRESENT) === 0) this.#runRoutine("storeDownward", address);
    else if ((cpu.load32(address) & PRESENT) === 0) this.#runRoutine("storeUpward", address);
    else {
      cpu.setGeneral(RBX, low);
      cpu.setGeneral(RCX, high);
      this.#runRoutine("replace", address);
    }
  }

  override takeEntry(address: number): number {
    const cpu = this.#cpu;
    const isPae = this.#format === "pae";
    this.#runRoutine(isPae ? "takeHalves" : "take", address);
    const low = cpu.general(RAX);
    this.high = isPae ? cpu.general(RDX) : cpu.valueHigh;
    return low;
  }

  override updateFlags(address: number, clear: number, set: number): number {
    const cpu = this.#cpu;
    cpu.setGeneral(RSI, ~clear);
    cpu.setGeneral(RBX, set);
    this.#runRoutine("update", address);
    return cpu.general(RAX);
  }

  override clearWritableByte(address: number): void {
    this.#runRoutine(this.#cpu.oneIn(WRITABLE) ? "protectByte" : "protectBit", address);
  }

  /** Fills entries with zeroes. */
  clearEntries(address: number, words: number): void {
    this.#cpu.setGeneral(RAX, 0);
    this.#cpu.setGeneral(RCX, words);
    this.#runRoutine("fill", address);
  }

  /** Copies entries, upward; those copied over are absent, and those copied are not in use. */
  copyEntries(to: number, from: number, words: number): void {
    this.#cpu.setGeneral(RSI, from | 0, highHalf(from));
    this.#cpu.setGeneral(RCX, words);
    this.#runRoutine("copy", to);
  }

  #runRoutine(name: RoutineName, address: number): void {
    const routine = this.#code.routines[name];
    if (routine === undefined) throw new RangeError(`the kernel has no routine ${name}`);
    this.#cpu.setGeneral(RDI, address | 0, highHalf(address));
    this.#cpu.runCode(this.#address + routine.start, this.#address + routine.end);
  }
}
