/**
 * What people import as `umbra`: the scenario API, the kernel that guest programs can run on, and the oracles; and the
 * explorer for code of their own.
 */
export { explore } from "./engines/explore/program/explore-program.ts";
export type {
  ExploreOptions,
  ProgramFailure,
  ProgramResult,
} from "./engines/explore/program/explore-program.ts";
export { cells, check, lock, racy, spawn } from "./engines/explore/program/program-api.ts";
export type { ProgramLock, ProgramThread } from "./engines/explore/program/program-api.ts";
export { defineScenario, GUEST_FORMATS } from "./guest/scenario.ts";
export type {
  GuestFormat,
  MachineAtRest,
  MachineWish,
  OptionValue,
  Program,
  Scenario,
  ScenarioDefinition,
  ScenarioOptions,
  SmallVariant,
  VcpuRange,
} from "./guest/scenario.ts";
export { Cpu } from "./guest/cpu.ts";
export { hex } from "./guest/hex.ts";
export { Loader } from "./guest/loader.ts";
export { BootTables } from "./guest/boot-tables.ts";
export type { EntryRights } from "./guest/boot-tables.ts";
export type { AreaWish, KernelWish } from "./guest/kernel-builder.ts";
export type { GuestRam, MemoryType, Toolstack } from "./guest/ports.ts";
export { Kernel } from "./guest/kernel/kernel.ts";
export { KERNEL_SPACE } from "./guest/kernel/address-spaces.ts";
export { PERSONALITIES } from "./guest/kernel/address-map.ts";
export type { Personality } from "./guest/kernel/address-map.ts";
export { PAGE_SLOTS, SLOT_STRIDE, SpaceWord } from "./guest/kernel/image.ts";
export type { Area, Backing, FlushStyle, KernelImage } from "./guest/kernel/image.ts";
export { Stamps, PrivateStamps, ledgerWords, lostStamps } from "./guest/stamps.ts";
export { Grant, Probe, SwitchedPages } from "./guest/switched-pages.ts";
export { AccessOracle } from "./guest/accessed-dirty.ts";
export {
  Cr0,
  Cr4,
  DomctlAnswer,
  Efer,
  EntryFlag,
  FaultCode,
  Flag,
  Register,
  Status,
  entryHigh,
  entryLow,
  frameOfEntry,
} from "./guest/hardware.ts";
