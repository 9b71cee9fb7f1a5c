/** Time comes from the engine: the real clock under stress, steps or virtual time elsewhere. */
export interface Clock {
  /** Nanoseconds since some fixed moment, never decreasing. */
  now(): number;
}
