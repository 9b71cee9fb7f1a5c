/**
 * The kernel's 1–1 map of physical memory, through which it stores to its pagetables: at 0xC0000000 in 32-bit Linux, at
 * 0xffff888000000000 in 64-bit Linux since 4.20. With paging off an address is what it says.
 */

const PAGING_OFF = 0;
const FOUR_LEVEL = 4;

const BASE_32_BIT = 0xc000_0000;
const BASE_64_BIT_HIGH = 0xffff_8880;
const FOUR_GIB = 0x1_0000_0000;

/** Finds the linear address of physical memory; it is in `low` and `high` afterwards. */
export class DirectMap {
  low = 0;
  high = 0;

  /**
   * @param format Levels of the guest's pagetables, 0 with paging off.
   * @returns Whether there can be such an address at all: 32 bits reach only so far.
   */
  locate(format: number, physical: number): boolean {
    let linear = physical;
    this.high = 0;
    if (format === FOUR_LEVEL) this.high = (BASE_64_BIT_HIGH + Math.floor(physical / FOUR_GIB)) | 0;
    else if (format !== PAGING_OFF) linear += BASE_32_BIT;
    this.low = linear | 0;
    return format === FOUR_LEVEL || linear < FOUR_GIB;
  }
}
