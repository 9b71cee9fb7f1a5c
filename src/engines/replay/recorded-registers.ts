/** The control registers of a recorded CPU, followed through a trace, and written as the state records of its end. */
import type { TraceCursor } from "../../guest/trace/cursor.ts";
import { RECORD_BYTES, RESET_CR0, RecordType, cplOfFill } from "../../guest/trace/record.ts";

const CONTROL_REGISTERS = [0, 2, 3, 4];

/** One CPU's registers as far as its records tell them. */
export class RecordedRegisters {
  readonly #values = new Map<number, bigint>();
  #efer: bigint | undefined;
  #cpl = 0;

  /** Takes in a record of the CPU. */
  note(record: TraceCursor): void {
    const { type, a, b, xLow, xHigh } = record;
    const value = (BigInt(xHigh >>> 0) << 32n) | BigInt(xLow >>> 0);
    switch (type) {
      case RecordType.cr:
        this.#values.set(a, value);
        if (a === 0 && b === 0 && xLow === RESET_CR0) this.#reset();
        return;
      case RecordType.efer:
        this.#efer = value;
        if (b === 1) this.#cpl = a;
        return;
      case RecordType.pf:
        this.#values.set(2, value);
        this.#cpl = 0;
        return;
      case RecordType.fill:
        this.#cpl = cplOfFill(b);
        return;
      case RecordType.ptw:
        this.#cpl = b & 3;
        return;
      default:
    }
  }

  /** The state records of the CPU: those of the registers that were ever told. */
  records(cpu: number): Buffer[] {
    const found = CONTROL_REGISTERS.flatMap((register) => {
      const value = this.#values.get(register);
      return value === undefined ? [] : [stateRecord(RecordType.cr, cpu, register, value)];
    });
    if (this.#efer !== undefined) found.push(stateRecord(RecordType.efer, cpu, this.#cpl, this.#efer));
    return found;
  }

  #reset(): void {
    this.#values.set(3, 0n);
    this.#values.set(4, 0n);
    this.#efer = 0n;
    this.#cpl = 0;
  }
}

function stateRecord(type: number, cpu: number, a: number, value: bigint): Buffer {
  const record = Buffer.alloc(RECORD_BYTES);
  record.set([type, cpu, a, 1]);
  record.writeBigUInt64LE(value, 8);
  record.writeBigUInt64LE(value, 16);
  return record;
}
