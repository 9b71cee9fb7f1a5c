/** A test machine whose vCPU executes code, and has a leaf table in use that it can write to. */
import { leafTypeOf } from "../../src/hypervisor/shadow/shadow-type.ts";
import type { Switches } from "../../src/hypervisor/machine-config.ts";
import { Status } from "../../src/machine/exits.ts";
import { Processor } from "../../src/machine/x86/processor.ts";
import { VcpuCell } from "../../src/memory/vcpu-area.ts";
import { USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import type { GuestLevels } from "./guest-tables.ts";
import { TestMachine, high, low } from "./test-machine.ts";

/** The guest's table under test maps this address; it is written through the window. */
export const ADDRESS = 0x1000_0000n;
export const WINDOW = 0x2000_0000n;
export const CODE = 0x3000_0000n;
/** The same code where 16-bit code can be. */
export const LOW_CODE = 0x8000n;
export const TABLE = 0x90;
export const PAGE = 0x80;
export const CODE_GFN = 0x98;
export const STEPS_MAX = 64;

/** Registers to set. */
export type Values = Readonly<Partial<Record<number, bigint>>>;

/** A machine whose vCPU executes code at `CODE`, and has a leaf table in use that `WINDOW` shows. */
export class CodeMachine extends TestMachine {
  readonly processor: Processor;

  constructor(levels: GuestLevels, switches: Partial<Switches> = {}) {
    super({ levels, switches: { prefetch: false, ...switches } });
    const { tables } = this;
    tables.link(ADDRESS, 2, TABLE);
    const bytes = entryBytes(levels);
    for (let index = 0; index < 4; index++)
      tables.write(TABLE * 4096 + index * bytes, entryOf(PAGE + index, USER_PAGE));
    tables.map(WINDOW, TABLE, USER_PAGE);
    tables.map(WINDOW + 0x1000n, PAGE + 4, USER_PAGE);
    tables.map(CODE, CODE_GFN, USER_PAGE);
    tables.map(LOW_CODE, CODE_GFN, USER_PAGE);
    tables.map(CODE + 0x1000n, CODE_GFN + 1, USER_PAGE);
    this.cpu.boot();
    this.cpu.read(ADDRESS);
    this.processor = new Processor(this.cpu.vcpu);
  }

  /** Puts code into a page of the guest, as a boot loader does. */
  load(bytes: readonly number[], offset = 0, gfn = CODE_GFN): void {
    for (const [index, byte] of bytes.entries()) {
      const at = gfn * 4096 + offset + index;
      const shift = 8 * (at % 4);
      const word = this.ram.readWord(at - (at % 4));
      this.ram.writeWord(at - (at % 4), (word & ~(0xff << shift)) | (byte << shift));
    }
  }

  /** Points RIP at code, with some registers set. */
  aim(offset: number, values: Values, bits = this.levels === 4 ? 64 : 32): void {
    const { registers } = this.cpu.vcpu.code;
    const rip = (bits === 16 ? LOW_CODE : CODE) + BigInt(offset);
    registers.codeBits = bits;
    registers.jumpTo(low(rip), high(rip));
    for (const [register, value = 0n] of Object.entries(values))
      registers.assign(Number(register), 8, low(value), high(value));
  }

  /** Executes code from its first byte to its last; the status of the last instruction. */
  run(bytes: readonly number[], values: Values, bits?: number, length = bytes.length): number {
    this.load(bytes);
    this.aim(0, values, bits);
    const end = this.cpu.vcpu.code.registers.ripLow + length;
    for (let step = 0; step < STEPS_MAX; step++) {
      const status = this.processor.executeNext();
      if (status !== Status.done && status !== Status.resumed) return status;
      if (this.cpu.vcpu.code.registers.ripLow === end) return Status.done;
    }
    throw new Error("the code does not come to its end");
  }

  /** A register. */
  value(register: number): bigint {
    const { registers } = this.cpu.vcpu.code;
    return BigInt(registers.lowOf(register, 8) >>> 0) | (BigInt(registers.highOf(register, 8) >>> 0) << 32n);
  }

  get isShadowed(): boolean {
    return this.shadowOf(TABLE, leafTypeOf(this.levels)) !== 0;
  }

  get cr2(): bigint {
    return BigInt(this.cpu.register(VcpuCell.cr2Low) >>> 0);
  }
}
