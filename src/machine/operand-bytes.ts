/** Single bytes of the operation in flight, for accesses that are done in parts. */
import type { Vcpu } from "./vcpu.ts";

/** A byte of what the operation stores; bits above 7 mean nothing. */
export function valueByte(vcpu: Vcpu, index: number): number {
  return index < 4 ? vcpu.valueLow >>> (index * 8) : vcpu.valueHigh >>> ((index - 4) * 8);
}

/** Adds a byte to the operation's result, where it is 0 as yet. */
export function addResultByte(vcpu: Vcpu, index: number, byte: number): void {
  if (index < 4) vcpu.resultLow |= byte << (index * 8);
  else vcpu.resultHigh |= byte << ((index - 4) * 8);
}
