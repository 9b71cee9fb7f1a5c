/** All strategies, by the names that users give them. */
import type { Search } from "../strategy.ts";
import { BoundedSearch } from "./bounded-search.ts";
import { Pct } from "./pct.ts";
import { Portfolio } from "./portfolio.ts";
import { PartialOrderSampling } from "./pos.ts";
import { RandomWalk } from "./random-walk.ts";
import { SourceDpor } from "./source-dpor.ts";
import { UniformWalk } from "./urw.ts";

const DEPTH_MOST = 4;
const UNBOUNDED = 2 ** 30;

/** What a strategy is made from. */
export interface StrategyOptions {
  /** 32 bits, from which all that is random follows. */
  readonly seed: number;
  /** Depth of each iteration of `pct`; any from 1 to 4 when left out. */
  readonly depth?: number;
  /** Most preemptions of `ipb`, delays of `idb`; without end when left out. */
  readonly boundMax?: number;
  /** `portfolio` without the systematic searches: for all workers of a campaign but one. Default false. */
  readonly onlySampling?: boolean;
  /** `portfolio` with nothing but the systematic searches: it ends when they have. Default false. */
  readonly onlySearching?: boolean;
}

const MAKERS = {
  portfolio: ({ seed, onlySampling = false, onlySearching = false }: StrategyOptions): Search =>
    new Portfolio({ seed, isSystematic: !onlySampling, isSampling: !onlySearching }),
  random: ({ seed }: StrategyOptions): Search => new RandomWalk(seed),
  pct: ({ seed, depth }: StrategyOptions): Search =>
    new Pct({ seed, depthMin: depth ?? 1, depthMax: depth ?? DEPTH_MOST }),
  pos: ({ seed }: StrategyOptions): Search => new PartialOrderSampling(seed),
  urw: ({ seed }: StrategyOptions): Search => new UniformWalk(seed),
  ipb: ({ boundMax }: StrategyOptions): Search =>
    new BoundedSearch({ name: "ipb", bounding: "preemptions", boundMax: boundMax ?? UNBOUNDED }),
  idb: ({ boundMax }: StrategyOptions): Search =>
    new BoundedSearch({ name: "idb", bounding: "delays", boundMax: boundMax ?? UNBOUNDED }),
  dfs: (): Search => new BoundedSearch({ name: "dfs", bounding: "none", boundMax: 0 }),
  dpor: (): Search => new SourceDpor(),
} as const;

/** Name of a strategy. */
export type StrategyName = keyof typeof MAKERS;

/** The names, the default first. */
export const STRATEGY_NAMES: readonly StrategyName[] = Object.keys(MAKERS).filter(isStrategyName);

/** Strategies whose searches have an end, and which several workers would only repeat. */
export const SYSTEMATIC: ReadonlySet<StrategyName> = new Set(["ipb", "idb", "dfs", "dpor"]);

/** Whether there is a strategy of this name. */
export function isStrategyName(name: string): name is StrategyName {
  return Object.hasOwn(MAKERS, name);
}

/** A strategy before its first execution. */
export function createStrategy(name: StrategyName, options: StrategyOptions): Search {
  return MAKERS[name](options);
}
