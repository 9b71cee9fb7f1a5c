/** One thread of `umbra mutants`: it loads one mutant. */
import { searchMutant } from "../src/engines/explore/mutants/mutant-search.ts";
import type { MutantReport, MutantTask } from "../src/engines/explore/mutants/mutant-search.ts";

export default function work(task: MutantTask): Promise<MutantReport> {
  return searchMutant(task);
}
