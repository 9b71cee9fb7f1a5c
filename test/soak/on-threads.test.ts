/**
 * A short soak on threads, for every change: each scenario on each machine of the soak, for a second with two vCPUs and for a
 * second with eight, two runs at a time; less if the scenario ends by itself. All vCPUs of a run are parked for an audit
 * some ten times in that second, and what each load returns is checked. `npm run soak` gives each of these 20 seconds.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Crew } from "../../src/engines/stress/crew.ts";
import { runOn } from "../../src/engines/stress/engine.ts";
import { planStress } from "../../src/engines/stress/plan.ts";
import type { StressRequest } from "../../src/engines/stress/plan.ts";
import type { StressResult } from "../../src/report/types.ts";
import { Shared } from "./shared.ts";
import { soakCases } from "./soak-plan.ts";

const SECONDS = "1";
/** Runs at a time: with more than one the cores are in use while another begins or is looked at. */
const AT_ONCE = 2;

/** Threads that serve one run after another: to start them takes as long as a run. */
class Threads {
  readonly #size: number;
  #crew: Crew | undefined;

  constructor(size: number) {
    this.#size = size;
  }

  /** Lets every thread load the decoder, which a busy machine may take longer for than a run lasts. */
  async warmUp(): Promise<void> {
    await this.run({ scenario: "locked-instructions", vcpus: String(this.#size), ops: "100" });
  }

  async run(request: StressRequest): Promise<StressResult> {
    const plan = await planStress({ ...request, seed: "1" });
    this.#crew ??= new Crew(this.#size);
    const result = await runOn(this.#crew, plan, {});
    // Nobody knows what the threads of such a run are at.
    if (result.outcome !== "completed") await this.dismiss();
    return result;
  }

  async dismiss(): Promise<void> {
    await this.#crew?.dismiss();
    this.#crew = undefined;
  }
}

const all = (await soakCases()).flatMap(({ vcpus, ...rest }) => (vcpus === null ? [] : [{ ...rest, vcpus }]));

describe.each([...new Set(all.map(({ vcpus }) => vcpus))])("%i vCPUs", (vcpus) => {
  // One of each is for a toolstack.
  const crews = Array.from({ length: AT_ONCE }, () => new Threads(vcpus + 1));
  beforeAll(() => Promise.all(crews.map((threads) => threads.warmUp())));
  afterAll(() => Promise.all(crews.map((threads) => threads.dismiss())));
  const shared = new Shared(crews);
  const cases = all.filter((each) => each.vcpus === vcpus);
  // Names are cut short where a field of an object is the name.
  const named = cases.map((each) => [each.name, each] as const);

  test.concurrent.each(named)("%s", async (_, { scenario, machine, guest }) => {
    const request = { scenario, guest, vcpus: String(vcpus), seconds: SECONDS, ...machine.request };
    const result = await shared.ask((threads) => threads.run(request));
    expect(result).toMatchObject({ outcome: "completed", stuck: [], tornDown: true, violations: [] });
    expect(result.operations).toBeGreaterThan(100);
  });
});
