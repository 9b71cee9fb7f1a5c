/**
 * The device model behind every gfn that is not RAM: registers whose value is a function of their address, and which
 * ignore writes. What matters here is how an access gets to it, not what it does.
 */
import { Counter } from "../memory/counters.ts";
import { Operation } from "../machine/exits.ts";
import { addResultByte } from "../machine/operand-bytes.ts";
import type { Vcpu } from "../machine/vcpu.ts";

/** Executes accesses to emulated MMIO. */
export class Device {
  /** Executes the vCPU's operation in flight, all of which is on one device page. */
  execute(vcpu: Vcpu, gfn: number): void {
    vcpu.counters.add(Counter.mmio);
    vcpu.frame = -1;
    vcpu.deviceFrame = gfn;
    if (vcpu.operation === Operation.store) return;
    vcpu.resultLow = registerValue(gfn, vcpu.addressLow & 0xfff) & sizeMask(vcpu.size);
    vcpu.resultHigh = vcpu.size === 8 ? registerValue(gfn, (vcpu.addressLow & 0xfff) + 4) : 0;
    vcpu.exchanged = false;
  }

  /** Executes `size` bytes of the vCPU's operation in flight, from its byte `from` on: those on one device page. */
  executePart(vcpu: Vcpu, gfn: number, offset: number, from: number, size: number): void {
    vcpu.counters.add(Counter.mmio);
    vcpu.deviceFrame = gfn;
    if (vcpu.operation === Operation.store) return;
    for (let index = 0; index < size; index++) {
      const value = registerValue(gfn, offset + (index & 4));
      addResultByte(vcpu, from + index, (value >>> ((index & 3) * 8)) & 0xff);
    }
  }
}

/** What the 32-bit register at an offset of a device page reads as. */
export function registerValue(gfn: number, offset: number): number {
  return (Math.imul(gfn, 0x9e37_79b1) ^ offset) | 0;
}

function sizeMask(size: number): number {
  return size >= 4 ? -1 : (1 << (size * 8)) - 1;
}
