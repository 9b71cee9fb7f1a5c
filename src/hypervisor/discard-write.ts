/** Writes to read-only memory, of which nothing is stored (spec 5.1, 12.5). */
import { PAGE_BYTES } from "../memory/units.ts";
import type { Mfn } from "../memory/units.ts";
import { Operation } from "../machine/exits.ts";
import type { Vcpu } from "../machine/vcpu.ts";

/**
 * Executes the vCPU's operation in flight, which writes to one page, but for its store: what a compare-exchange or a locked
 * operation reads is what is there. Callers hold the paging lock.
 */
export function discardWrite(vcpu: Vcpu, frame: Mfn): void {
  vcpu.frame = frame;
  if (vcpu.operation === Operation.store) return;
  const { physical, size, expectedLow, expectedHigh } = vcpu;
  physical.read(frame * PAGE_BYTES + (vcpu.addressLow & (PAGE_BYTES - 1)), size);
  vcpu.resultLow = physical.low;
  vcpu.resultHigh = physical.high;
  const mask = size < 4 ? (1 << (size * 8)) - 1 : -1;
  vcpu.exchanged =
    vcpu.operation === Operation.compareExchange &&
    ((physical.low ^ expectedLow) & mask) === 0 &&
    (size < 8 || physical.high === expectedHigh);
}
