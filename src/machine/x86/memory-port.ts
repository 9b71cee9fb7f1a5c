/**
 * How instructions reach memory. There are two ports: the processor's own, through its TLB, and that of the hypervisor's
 * emulator, through the guest's tables and the shadows' bookkeeping. The interpreter is the same for both.
 */

/** Memory by linear address. Every method returns a `Status`; what was read is in `resultLow` and `resultHigh`. */
export interface MemoryPort {
  resultLow: number;
  resultHigh: number;
  /** Fetches the 8 bytes of code at an address that is a multiple of 8. */
  fetchUnit(low: number, high: number): number;
  /** Reads 1, 2, 4 or 8 bytes. */
  readMemory(low: number, high: number, size: number): number;
  /** Reads what will be written next: the page must grant that. */
  readToWrite(low: number, high: number, size: number): number;
  /** Writes 1, 2, 4 or 8 bytes. */
  writeMemory(low: number, high: number, size: number, valueLow: number, valueHigh: number): number;
  /** Stores a value in place of another, if that is there, in one atomic access; what was there is the result. */
  exchangeMemory(
    low: number,
    high: number,
    size: number,
    expectedLow: number,
    expectedHigh: number,
    valueLow: number,
    valueHigh: number,
  ): number;
  /** Does an `AluOperation` with a value and RFLAGS on memory, in one atomic access; what was there is the result. */
  alterMemory(
    low: number,
    high: number,
    size: number,
    operation: number,
    valueLow: number,
    valueHigh: number,
    flags: number,
  ): number;
}
