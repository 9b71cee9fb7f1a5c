/**
 * The processor proper: fetches the instruction at RIP through the TLB, decodes and executes it. Interrupts are taken
 * between instructions; flushes are served between memory accesses, each of which translates anew.
 */
import { Counter } from "../../memory/counters.ts";
import { Operation, Status } from "../exits.ts";
import type { Vcpu } from "../vcpu.ts";
import { InstructionFetch } from "./fetch.ts";
import { InstructionKind } from "./instruction.ts";
import { Interpreter } from "./interpreter.ts";
import type { MemoryPort } from "./memory-port.ts";

const INSTRUCTIONS = Counter.instructions;
const STATUS_DONE = Status.done;
const STATUS_STOPPED = Status.stopped;
const OPERATION_ALTER = Operation.alter;
const OPERATION_LOAD_TO_STORE = Operation.loadToStore;
const UNIT_BYTES = 8;

/** Executes one vCPU's machine code. */
export class Processor implements MemoryPort {
  resultLow = 0;
  resultHigh = 0;
  readonly #vcpu: Vcpu;
  readonly #fetch: InstructionFetch;
  readonly #interpreter: Interpreter;

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
    this.#fetch = new InstructionFetch(vcpu.code.registers, this);
    this.#interpreter = new Interpreter(vcpu.code.registers, this);
  }

  /** Executes the instruction at RIP. Returns a `Status`. */
  executeNext(): number {
    const vcpu = this.#vcpu;
    if (!vcpu.poll()) return STATUS_STOPPED;
    const handler = vcpu.interruptHandler;
    vcpu.interruptHandler = null;
    vcpu.code.isExecuting = true;
    const status = this.#fetchAndExecute();
    vcpu.code.isExecuting = false;
    vcpu.interruptHandler = handler;
    return status;
  }

  #fetchAndExecute(): number {
    const status = this.#fetch.fetchInstruction();
    if (status !== STATUS_DONE) return status;
    const { instruction } = this.#fetch;
    if (instruction.kind === InstructionKind.unknown) return Status.invalidOpcode;
    const executed = this.#interpreter.executeInstruction(instruction);
    if (executed === STATUS_DONE) this.#vcpu.counters.add(INSTRUCTIONS);
    return executed;
  }

  fetchUnit(low: number, high: number): number {
    return this.#result(this.#vcpu.fetch(low, high, UNIT_BYTES));
  }

  readMemory(low: number, high: number, size: number): number {
    return this.#result(this.#vcpu.load(low, high, size));
  }

  readToWrite(low: number, high: number, size: number): number {
    return this.#result(this.#vcpu.access.run(OPERATION_LOAD_TO_STORE, low, high, size));
  }

  writeMemory(low: number, high: number, size: number, valueLow: number, valueHigh: number): number {
    return this.#vcpu.store(low, high, size, valueLow, valueHigh);
  }

  exchangeMemory(
    low: number,
    high: number,
    size: number,
    expectedLow: number,
    expectedHigh: number,
    valueLow: number,
    valueHigh: number,
  ): number {
    const vcpu = this.#vcpu;
    vcpu.expectedLow = expectedLow;
    vcpu.expectedHigh = expectedHigh;
    vcpu.valueLow = valueLow;
    vcpu.valueHigh = valueHigh;
    return this.#result(vcpu.compareExchange(low, high, size));
  }

  alterMemory(
    low: number,
    high: number,
    size: number,
    operation: number,
    valueLow: number,
    valueHigh: number,
    flags: number,
  ): number {
    const vcpu = this.#vcpu;
    vcpu.code.alteration = operation;
    vcpu.code.flags = flags;
    vcpu.valueLow = valueLow;
    vcpu.valueHigh = valueHigh;
    return this.#result(vcpu.access.run(OPERATION_ALTER, low, high, size));
  }

  #result(status: number): number {
    this.resultLow = this.#vcpu.resultLow;
    this.resultHigh = this.#vcpu.resultHigh;
    return status;
  }
}
