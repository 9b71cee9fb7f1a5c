/** What an interrupt gate saves: the operation that was in flight when an interrupt came between its steps. */
import type { Vcpu } from "./vcpu.ts";

/** The operation that an interrupt interrupted. Interrupts are rare, so this may allocate. */
export class SavedOperation {
  readonly #fields: readonly number[];

  /** Saves the operation in flight. */
  constructor(vcpu: Vcpu) {
    this.#fields = [
      vcpu.operation,
      vcpu.size,
      vcpu.addressLow,
      vcpu.addressHigh,
      vcpu.valueLow,
      vcpu.valueHigh,
      vcpu.expectedLow,
      vcpu.expectedHigh,
    ];
  }

  /** Puts it back. */
  restore(vcpu: Vcpu): void {
    const [operation = 0, size = 0, addressLow = 0, addressHigh = 0, ...operands] = this.#fields;
    const [valueLow = 0, valueHigh = 0, expectedLow = 0, expectedHigh = 0] = operands;
    vcpu.operation = operation;
    vcpu.size = size;
    vcpu.addressLow = addressLow;
    vcpu.addressHigh = addressHigh;
    vcpu.valueLow = valueLow;
    vcpu.valueHigh = valueHigh;
    vcpu.expectedLow = expectedLow;
    vcpu.expectedHigh = expectedHigh;
  }
}
