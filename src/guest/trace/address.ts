/** Physical addresses of recordings, which fit into a number, from their int32 halves; and addresses as text. */

/** An address as one number. Exact below 2^53. */
export function addressOf(low: number, high: number): number {
  return (high >>> 0) * 0x1_0000_0000 + (low >>> 0);
}

/** The frame number of an address of at most 52 bits, as a number of up to 40 bits. */
export function frameOfAddress(low: number, high: number): number {
  return (high >>> 0) * 0x10_0000 + (low >>> 12);
}

/** A 64-bit value in hexadecimal. */
export function hex64(low: number, high: number): string {
  if (high === 0) return `0x${(low >>> 0).toString(16)}`;
  return `0x${(high >>> 0).toString(16)}${(low >>> 0).toString(16).padStart(8, "0")}`;
}
