/**
 * An exploration in parts of fixed sizes. What a part does follows from the seed and its own executions, whichever thread
 * makes it, and parts stand in an order: so the result is the same for any number of threads.
 */
import { SYSTEMATIC } from "../strategies/catalogue.ts";
import type { StrategyName } from "../strategies/catalogue.ts";

/** Executions that belong together. */
export interface Part {
  /** Whether it goes on with a systematic search, whose parts one thread makes in their order. */
  readonly isSearch: boolean;
  /** Number of the first execution, among those of the search or the others, and the one after the last. */
  readonly from: number;
  readonly to: number;
}

const SAMPLES = 500;
const SEARCHES = 500;
/** Of a portfolio's executions, one in so many is the search's. */
const SEARCH_ONE_IN = 4;

/** The parts of so many executions, in order. */
export function partsOf(strategy: StrategyName, executions: number): Part[] {
  if (SYSTEMATIC.has(strategy)) return [{ isSearch: true, from: 0, to: executions }];
  if (strategy !== "portfolio") return samples(0, executions);
  const parts: Part[] = [];
  const searches = Math.floor(executions / SEARCH_ONE_IN);
  for (let from = 0; from < searches; from += SEARCHES) {
    const to = Math.min(from + SEARCHES, searches);
    parts.push({ isSearch: true, from, to });
    parts.push(...samples(from * (SEARCH_ONE_IN - 1), to * (SEARCH_ONE_IN - 1)));
  }
  parts.push(...samples(searches * (SEARCH_ONE_IN - 1), executions - searches));
  return parts;
}

/** Parts of executions that no search makes. */
export function samples(from: number, to: number): Part[] {
  const parts: Part[] = [];
  for (let first = from; first < to; first += SAMPLES)
    parts.push({ isSearch: false, from: first, to: Math.min(first + SAMPLES, to) });
  return parts;
}
