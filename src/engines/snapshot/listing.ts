/** A listing of every mapping of a CPU, one line a leaf entry: `vaddr: paddr flags`, as QEMU's monitor prints it. */
import { readMaybePacked } from "../input-file.ts";
import { UsageError } from "../errors.ts";

/** `vaddr: paddr XGPDACTUW`; a `-` in place of a letter says that the bit is clear. */
const LINE = /^([0-9a-f]{16}): ([0-9a-f]{16}) ([X-][G-][P-][D-][A-][C-][T-][U-][W-])$/;
/** Above the physical address the listing may show XD. */
const ADDRESS_BITS = 0x000f_ffff_ffff_f000n;

/** One line: a leaf entry's own bits, not combined over levels. */
export interface ListedMapping {
  /** Number of the line, from 1. */
  readonly line: number;
  readonly text: string;
  readonly address: bigint;
  readonly physical: bigint;
  readonly isExecuteDisabled: boolean;
  readonly isDirty: boolean;
  readonly isUser: boolean;
  readonly isWritable: boolean;
}

/** The lines of a file. Throws UsageError for one that is no such line. */
export function readListing(file: string): ListedMapping[] {
  const lines = readMaybePacked(file)
    .toString("latin1")
    .split("\n")
    .map((line) => line.trimEnd());
  if (lines.at(-1) === "") lines.pop();
  return lines.map((text, index) => {
    const match = LINE.exec(text);
    if (match === null) {
      throw new UsageError(`${file}:${index + 1}: not "address: address flags", 16, 16 and 9 characters`);
    }
    const [, address = "", physical = "", flags = ""] = match;
    return {
      line: index + 1,
      text,
      address: BigInt(`0x${address}`),
      physical: BigInt(`0x${physical}`) & ADDRESS_BITS,
      isExecuteDisabled: flags.startsWith("X"),
      isDirty: flags[3] === "D",
      isUser: flags[7] === "U",
      isWritable: flags[8] === "W",
    };
  });
}
