import { runOnOneThread } from "./one-thread.ts";
import { Cpu } from "../../src/guest/cpu.ts";

import { UserMemory } from "../../src/guest/kernel/user-memory.ts";
const log: string[] = [];
const orig = UserMemory.prototype.putLeaf;
UserMemory.prototype.putLeaf = function (a, l, h) {
  log.push(`put ${a.toString(16)} ${(l >>> 0).toString(16)}`);
  orig.call(this, a, l, h);
};
const oa = UserMemory.prototype.allowWrites;
UserMemory.prototype.allowWrites = function (a) {
  log.push(`allow ${a.toString(16)}`);
  oa.call(this, a);
};
for (const n of ["tryLoad", "tryStore", "tryFetch"] as const) {
  const o = Cpu.prototype[n] as any;
  (Cpu.prototype as any)[n] = function (a: number, ...r: number[]) {
    const s = o.call(this, a, ...r);
    log.push(`${n} ${a.toString(16)} cpl ${this.vcpu.cpl} -> ${s} ${this.vcpu.faultErrorCode}`);
    return s;
  };
}
Cpu.prototype.violation = function (c, m) {
  const page = m.match(/0x([0-9a-f]+),/)?.[1] ?? "";
  console.log(m);
  console.log(log.filter((l) => l.includes(page.slice(0, -3))).slice(-8));
  process.exit();
};
const { default: scenario } = await import(`../../scenarios/not-present-churn.ts`);
runOnOneThread({ scenario, format: "pae", operations: 200000 } as never);
