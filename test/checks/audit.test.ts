/** The audit: silent on a healthy machine, and each of its invariants finds the fault that is planted for it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { INVARIANTS, auditMachine } from "../../src/checks/audit.ts";
import { MachineView } from "../../src/checks/machine-view.ts";
import { VcpuState } from "../../src/memory/vcpu-area.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { mfn } from "../../src/memory/units.ts";
import { FORMATS } from "../hypervisor/guest-tables.ts";
import { ROOT } from "../source.ts";
import { PLANTS, richMachine } from "./plants.ts";

test("every invariant has a planted fault, and every fault an invariant", () => {
  expect(Object.keys(PLANTS).toSorted()).toEqual(INVARIANTS.map(({ name }) => name).toSorted());
  for (const [name, plants] of Object.entries(PLANTS))
    expect([name, plants.length > 0]).toEqual([name, true]);
});

test("every invariant says where it is stated and what goes wrong without it", () => {
  for (const { name, source, because } of INVARIANTS) {
    expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)+$/);
    expect(source).toMatch(/spec|V\d|I\d/);
    expect(because.length).toBeGreaterThan(20);
  }
});

test("docs/checks.md has a line for every invariant, in their order and in their words", () => {
  const text = readFileSync(join(ROOT, "docs/checks.md"), "utf8");
  const rows = Array.from(text.matchAll(/^\| `(.*)` \| (.*) \| (.*) \| (.*) \|$/gm), (row) => row.slice(1));
  expect(rows.map(([name, , because, source]) => ({ name, because, source }))).toEqual(
    INVARIANTS.map(({ name, because, source }) => ({ name, because, source })),
  );
  for (const [name, holds = ""] of rows) expect([name, holds.length > 20]).toEqual([name, true]);
});

describe.each(FORMATS)("a healthy machine of %i levels", (levels) => {
  test("has no findings", () => {
    const machine = richMachine(levels);
    expect(machine.findings()).toEqual([]);
    // It is rich enough to mean something.
    const view = new MachineView(machine.machine);
    expect(view.shadows.length).toBeGreaterThan(5);
    expect(view.leaves.length).toBeGreaterThan(40);
    expect(view.uppers.length).toBeGreaterThan(levels);
    expect(view.magicEntries.length).toBeGreaterThan(1);
    expect(machine.finish()).toEqual([]);
  });

  test("has none when a table is out of sync", () => {
    const machine = richMachine(levels, "shadow", true);
    expect(machine.findings()).toEqual([]);
    expect(new MachineView(machine.machine).outOfSyncSlots()).toHaveLength(1);
    expect(machine.finish()).toEqual([]);
  });
});

test.each(FORMATS)(
  "a healthy machine of %i levels in hap mode has no findings, and has used what is audited",
  (levels) => {
    const machine = richMachine(levels, "hap");
    expect(machine.findings()).toEqual([]);
    const view = new MachineView(machine.machine);
    expect(view.shadows).toEqual([]);
    expect(machine.count("nested_walks")).toBeGreaterThan(10);
    expect(machine.count("nested_faults")).toBeGreaterThan(0);
    expect(machine.count("native_faults")).toBeGreaterThan(0);
    expect(machine.count("demand_faults")).toBe(0);
    expect(machine.finish()).toEqual([]);
  },
);

describe.each(Object.entries(PLANTS))("%s", (name, plants) => {
  test.each(plants)("finds $what, and nothing else does", (planted) => {
    const { levels = 4, paging, isOutOfSync, plant, says } = planted;
    const machine = richMachine(levels, paging, isOutOfSync);
    plant(machine);
    const findings = machine.audit();
    expect([...new Set(findings.map(({ check }) => check))]).toEqual([`audit ${name}`]);
    expect(findings.filter(({ message }) => says.test(message)).length).toBeGreaterThan(0);
  });
});

test("of each invariant a few findings are kept, and all of them are nobody's in particular", () => {
  const machine = richMachine(4);
  for (let gfn = 0; gfn < 20; gfn++) machine.shadow.pages.getReference(machine.frame(0xa0 + gfn));
  const findings = auditMachine(machine.machine);
  expect(findings.length).toBe(5);
  expect(new Set(findings.map(({ vcpu }) => vcpu))).toEqual(new Set([-1]));
});

test("a TLB counts only while its vCPU is parked and what it holds is in force", () => {
  const machine = richMachine(4);
  const { vcpu } = machine.cpu;
  vcpu.tlb.insert(0x7000_0000, 0, mfn(machine.shadow.domain.read(DomainCell.heapHead)), 0);
  expect(auditMachine(machine.machine)).toEqual([]);
  expect(machine.audit().length).toBe(1);
  vcpu.mailbox.setState(VcpuState.parked);
  expect(auditMachine(machine.machine).length).toBe(1);
  machine.cpuAt(1).hosted.shadow.flushAll();
  expect(auditMachine(machine.machine)).toEqual([]);
  vcpu.mailbox.setState(VcpuState.running);
  expect(machine.finish()).toEqual([]);
});

test("a domain that is dead is not audited", () => {
  const machine = richMachine(4);
  machine.shadow.pages.getReference(machine.frame(0xa0));
  machine.machine.domain.beginDestroy();
  expect(auditMachine(machine.machine)).toEqual([]);
});

test("shadows are found by their pages, not by the hash that is audited", () => {
  const machine = richMachine(4);
  const { memory, layout } = machine.machine;
  const before = new MachineView(machine.machine).shadows;
  memory.fillWords(layout.regions.hash.offset, layout.regions.hash.words, 0);
  expect(new MachineView(machine.machine).shadows).toEqual(before);
});
