/** The eras: what each has switched on. */
import { expect, test } from "vitest";
import { PRESETS, SWITCH_NAMES } from "../../src/hypervisor/machine-config.ts";
import type { PresetName } from "../../src/hypervisor/machine-config.ts";

const ERAS: readonly PresetName[] = ["talk-before", "talk", "xen-3.3", "umbra"];

function on(preset: PresetName): string[] {
  return SWITCH_NAMES.filter((name) => PRESETS[preset][name]);
}

test("talk has what the talk says is done, whatever other switches there are", () => {
  expect(on("talk-before")).toEqual([]);
  expect(on("talk")).toEqual([
    "writable-heuristic",
    "last-writable-hint",
    "early-unshadow",
    "fast-fault-path",
    "prefetch",
    "linux-l3-toplevel",
    "up-pointer",
    "pinning",
    "deferred-flush",
  ]);
});

test("every preset is an era, and names every switch", () => {
  expect(Object.keys(PRESETS)).toEqual(ERAS);
  for (const era of ERAS) expect(Object.keys(PRESETS[era])).toEqual(SWITCH_NAMES);
});
