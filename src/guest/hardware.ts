/** The words of the machine that guest programs speak: what scenarios get of it, and all they get of it. */
export { Cr0, Cr4, Efer } from "../machine/control-registers.ts";
export { EntryFlag, entryHigh, entryLow, frameOfEntry } from "../machine/entry.ts";
export { Status } from "../machine/exits.ts";
export { Flag, Register } from "../machine/x86/registers.ts";
export { FaultCode } from "../machine/fault-code.ts";
export { DomctlAnswer } from "../memory/domain-area.ts";
