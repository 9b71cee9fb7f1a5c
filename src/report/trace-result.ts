/** What `umbra trace info` and `umbra trace cut` tell of a recorded guest. */

/** What is in a trace. */
export interface TraceInfoResult {
  readonly file: string;
  readonly ramBytes: number;
  readonly cpus: number;
  readonly records: number;
  /** Bytes when unpacked. */
  readonly bytes: number;
  /** Records by the name of their type. */
  readonly byType: Readonly<Record<string, number>>;
  /** Records by CPU. */
  readonly byCpu: readonly number[];
  /** Changes of CPU from one record to the next. */
  readonly handovers: number;
  /** Most records of one CPU in a row. */
  readonly longestRun: number;
  /** Numbers of what occurs now and then, in the order in which they are best read. */
  readonly features: readonly TraceFeature[];
}

/** How often something occurs in a trace. */
export interface TraceFeature {
  readonly name: string;
  readonly about: string;
  readonly count: number;
}

/** What was cut. */
export interface CutResult {
  readonly file: string;
  readonly out: string;
  /** Records taken from the file. */
  readonly kept: number;
  /** Records written: state records and an END were added, unless all was taken. */
  readonly records: number;
  /** Bytes written. */
  readonly bytes: number;
}
