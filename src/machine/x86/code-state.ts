/** What a vCPU has beside its registers while it executes machine code. */
import type { SharedMemory } from "../../memory/shared-memory.ts";
import { Registers } from "./registers.ts";

/** One vCPU's machine code. */
export class CodeState {
  readonly registers: Registers;
  /** Whether the operation in flight is one of the instruction at RIP. */
  isExecuting = false;
  /** The `AluOperation` of an operation that alters memory, and RFLAGS before it. */
  alteration = 0;
  flags = 0;

  constructor(memory: SharedMemory, area: number) {
    this.registers = new Registers(memory, area);
  }
}
