/**
 * The results of all engines and commands: plain data, from which everything printed is made, and which `--json`
 * writes as it stands. The JSON Schema of each is in docs/schema. Engines import this file and no other of this room.
 */
export type { ConformMismatch, ConformResult } from "./conform-result.ts";
export type { CompareResult, CompareSide } from "./compare-result.ts";
export type { ListResult } from "./list-result.ts";
export type {
  LockPlaces,
  LockRow,
  LockWaitRow,
  RecentRow,
  WatchRow,
  RunSettings,
  StressOutcome,
  StressResult,
  VcpuDiagnosis,
  VcpuRow,
  Violation,
} from "./stress-result.ts";
export type {
  LawRow,
  PointErrors,
  RealPoint,
  ScalingRow,
  SensitivityRow,
  SimulateOutcome,
  SimulateResult,
  SimulateSettings,
  SimulatedPoint,
  SpentRow,
  UslFit,
} from "./simulate-result.ts";
export type { StartResult } from "./start-result.ts";
export type { EachSwitchResult, SwitchRun } from "./each-switch-result.ts";
export type { ModesResult } from "./modes-result.ts";
export type { VerifyOutcome, VerifyResult } from "./verify-result.ts";
export type { MutantRow, MutantsResult, StrategyRow } from "./mutants-result.ts";
export type { CutResult, TraceFeature, TraceInfoResult } from "./trace-result.ts";
export type { SnapshotResult } from "./snapshot-result.ts";
export type {
  ExploreFailure,
  ExploreOutcome,
  ExploreResult,
  ExploreSettings,
  ExploreViolation,
  ReplayResult,
  Switches,
  TraceRow,
} from "./explore-result.ts";
export type { CalibrateResult, CalibratedCost, FittedWorkload, MeasuredTime } from "./calibrate-result.ts";
export type {
  AblateResult,
  AblateSettings,
  AblationCount,
  AblationGroup,
  AblationRow,
  PublishedRow,
  SlideFinding,
} from "./ablate-result.ts";
