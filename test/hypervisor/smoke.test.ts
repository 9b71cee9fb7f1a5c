import { expect, test } from "vitest";
import { FORMATS, USER_PAGE } from "./guest-tables.ts";
import { TestMachine } from "./test-machine.ts";

test.each(FORMATS)("a %i-level guest runs", (levels) => {
  const m = TestMachine.running({ levels });
  const { cpu } = m;
  cpu.write(m.direct(0x80000), 0x1234_5678n);
  expect(cpu.read(m.direct(0x80000))).toBe(0x1234_5678n);
  m.cpu.writeEntry(m.tables.entryAt(0x1000n, 1), (0x80n << 12n) | USER_PAGE);
  expect(cpu.read(0x1000n)).toBe(0x1234_5678n);
  expect(m.findings()).toEqual([]);
  expect(m.teardown()).toEqual([]);
});
