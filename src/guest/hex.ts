/** An address for a message. */
export function hex(address: number): string {
  if (address >= 0) return `0x${address.toString(16)}`;
  return `0x${(address + 2 ** 48).toString(16).padStart(12, "0").padStart(16, "f")}`;
}
