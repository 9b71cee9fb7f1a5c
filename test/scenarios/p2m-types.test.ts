/** The scenario's own oracles: a toolstack that does not do what it says is told, and how. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { runStress } from "../../src/engines/stress/engine.ts";
import { planStress } from "../../src/engines/stress/plan.ts";

const file = join(import.meta.dirname, "broken-toolstack.ts");

/** What is told of a fault, within a few runs: on a busy machine the threads of one may hardly have met. */
async function toldOf(fault: string): Promise<string> {
  for (let seed = 1; seed <= 10; seed++) {
    const request = { scenario: file, vcpus: "2", guest: "4level", seconds: "1", seed: String(seed) };
    // oxlint-disable-next-line no-await-in-loop -- one run after another, until one shows it
    const { violations } = await runStress(await planStress({ ...request, set: [`fault=${fault}`] }));
    const told = violations.filter(({ check }) => check === "memory" || check === "scenario");
    if (told.length > 0) return told.map(({ message }) => message).join("\n");
  }
  return "";
}

test.each([
  ["forgets-contents", /slot \d+ of page \d+ .*holds (zero|stamp 0)/],
  ["seals-in-name", /took \d+ while it was read-only|read-only page \d has changed/],
  ["gives-poison", /balloon page \d holds -559\d+, and neither/],
  ["maps-no-device", /of a device reads -?\d+ right after \d+ was stored/],
])("a toolstack that %s is told", async (fault, says) => {
  expect(await toldOf(fault)).toMatch(says);
});
