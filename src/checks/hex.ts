/** A number in hexadecimal with its prefix. */
export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
