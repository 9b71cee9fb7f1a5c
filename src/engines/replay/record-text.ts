/** Records and their ends in words. */
import { hex64 } from "../../guest/trace/address.ts";
import type { TraceCursor } from "../../guest/trace/cursor.ts";
import { RECORD_NAMES, RecordType, cplOfFill, isSmapFill, isUserFill } from "../../guest/trace/record.ts";
import { Status } from "../../machine/exits.ts";
import type { Vcpu } from "../../machine/vcpu.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";

const ACCESS_NAMES = ["read", "write", "fetch"];

/** A FILL or PF. */
export function describeAccess(record: TraceCursor): string {
  const { index, type, cpu, a, b, c, xLow, xHigh, yLow, yHigh } = record;
  const head = `record ${index}, ${RECORD_NAMES[type] ?? ""} of CPU ${cpu}: `;
  if (type !== RecordType.fill) {
    return `${head}the access to ${hex64(xLow, xHigh)} at CPL ${a} faults with error code ${c}`;
  }
  const mode = isUserFill(b) ? "user" : "supervisor";
  const smap = isSmapFill(b) ? ", SMAP enforced" : "";
  const rights = `${(c & 1) === 0 ? "-" : "r"}${(c & 2) === 0 ? "-" : "w"}${(c & 4) === 0 ? "-" : "x"}`;
  return (
    `${head}${mode} ${ACCESS_NAMES[a] ?? ""} of ${hex64(xLow, xHigh)} at CPL ${cplOfFill(b)}${smap} ` +
    `leads to ${hex64(yLow, yHigh)} with rights ${rights}`
  );
}

/** A PTW. */
export function describeStore(record: TraceCursor): string {
  const { index, cpu, a, yLow, yHigh, zLow, zHigh, xLow, xHigh, wLow, wHigh } = record;
  return (
    `record ${index}, PTW of CPU ${cpu}: ${a} bytes ${hex64(yLow, yHigh)} over ${hex64(zLow, zHigh)} ` +
    `at ${hex64(xLow, xHigh)} through ${hex64(wLow, wHigh)}`
  );
}

/** A PTPAGE. */
export function describePage(record: TraceCursor): string {
  const { index, cpu, a, xLow, xHigh } = record;
  return `record ${index}, PTPAGE of CPU ${cpu}: ${hex64(xLow, xHigh)} is a level ${a} table`;
}

/** What became of an operation instead. `frame` is where it ended if it was done. */
export function describeEnd(vcpu: Vcpu, status: number, frame: number): string {
  switch (status) {
    case Status.done:
      return frame < 0 ? "it was done" : `it ended in frame ${hexFrame(frame)}`;
    case Status.pageFault: {
      const address = hex64(vcpu.register(VcpuCell.cr2Low), vcpu.register(VcpuCell.cr2High));
      return `it faulted at ${address} with error code ${vcpu.faultErrorCode}`;
    }
    case Status.generalProtection:
      return "it raised #GP";
    default:
      return "the machine stopped";
  }
}

function hexFrame(frame: number): string {
  return `0x${frame.toString(16)}`;
}
