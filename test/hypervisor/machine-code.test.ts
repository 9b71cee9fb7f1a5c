/** Machine code that writes pagetables: executed, or fetched anew through the guest's own tables and emulated (spec 4.9). */
import { describe, expect, test } from "vitest";
import { Status } from "../../src/machine/exits.ts";
import { Register } from "../../src/machine/x86/registers.ts";
import { Bit, FORMATS, KERNEL_PAGE, USER_PAGE, entryBytes, entryOf } from "./guest-tables.ts";
import { low } from "./test-machine.ts";
import { ADDRESS, CODE, CODE_GFN, CodeMachine, PAGE, TABLE, WINDOW } from "./code-machine.ts";

const { rax, rbx, rcx, rdx, rsi, rdi, rsp } = Register;
/** Instructions of the emulator's list that write to [edi], in 32-bit code, and what they do to a word there. */
const WRITES: readonly { name: string; bytes: readonly number[] }[] = [
  { name: "mov [edi], eax", bytes: [0x89, 0x07] },
  { name: "mov [edi], ax", bytes: [0x66, 0x89, 0x07] },
  { name: "mov byte [edi], 0", bytes: [0xc6, 0x07, 0x00] },
  { name: "xchg [edi], eax", bytes: [0x87, 0x07] },
  { name: "lock cmpxchg [edi], ecx", bytes: [0xf0, 0x0f, 0xb1, 0x0f] },
  { name: "cmpxchg [edi], ecx", bytes: [0x0f, 0xb1, 0x0f] },
  { name: "lock cmpxchg8b [edi]", bytes: [0xf0, 0x0f, 0xc7, 0x0f] },
  { name: "lock and [edi], eax", bytes: [0xf0, 0x21, 0x07] },
  { name: "lock or [edi], eax", bytes: [0xf0, 0x09, 0x07] },
  { name: "lock xor [edi], eax", bytes: [0xf0, 0x31, 0x07] },
  { name: "lock bts dword [edi], 9", bytes: [0xf0, 0x0f, 0xba, 0x2f, 0x09] },
  { name: "lock btr dword [edi], 1", bytes: [0xf0, 0x0f, 0xba, 0x37, 0x01] },
  { name: "and [edi], eax", bytes: [0x21, 0x07] },
  { name: "or [edi], eax", bytes: [0x09, 0x07] },
  { name: "xor [edi], eax", bytes: [0x31, 0x07] },
  { name: "add [edi], eax", bytes: [0x01, 0x07] },
  { name: "sub [edi], eax", bytes: [0x29, 0x07] },
  { name: "inc dword [edi]", bytes: [0xff, 0x07] },
  { name: "dec byte [edi]", bytes: [0xfe, 0x0f] },
  { name: "bts [edi], eax", bytes: [0x0f, 0xab, 0x07] },
  { name: "stosd", bytes: [0xab] },
  { name: "rep stosd", bytes: [0xf3, 0xab] },
  { name: "movsd", bytes: [0xa5] },
  { name: "rep movsb", bytes: [0xf3, 0xa4] },
  { name: "pop dword [edi]", bytes: [0x8f, 0x07] },
];

describe.each(FORMATS)("code of a %i-level guest", (levels) => {
  const bytes = entryBytes(levels);

  test("that stores to a table is emulated, and table and shadow have the entry", () => {
    const machine = new CodeMachine(levels);
    const store = levels === 4 ? [0x48, 0x89, 0x07] : [0x89, 0x07];
    const entry = entryOf(PAGE + 2, USER_PAGE);
    machine.cpu.write(machine.direct((PAGE + 2) * 4096), 0x102n);
    expect(
      machine.countWhile("emulated_instructions", () => machine.run(store, { [rdi]: WINDOW, [rax]: entry })),
    ).toBe(1);
    expect(machine.count("instructions")).toBe(0);
    expect(machine.cpu.read(WINDOW, bytes)).toBe(entry);
    machine.cpu.invlpg(ADDRESS);
    expect(machine.cpu.read(ADDRESS)).toBe(0x102n);
    expect(machine.isShadowed).toBe(true);
    expect(machine.finish()).toEqual([]);
  });

  // In 64-bit code the same bytes have RDI for EDI, and PUSH and POP go by 8 bytes.
  test.each(WRITES)("$name does the same to a table as to any page", ({ bytes: code }) => {
    const machine = new CodeMachine(levels);
    const [plain, table] = [WINDOW + 0x1008n, WINDOW + 8n].map((at) => {
      for (let byte = 0; byte < 32; byte += 4)
        machine.ram.writeWord((PAGE + 4) * 4096 + byte, machine.ram.readWord(TABLE * 4096 + byte));
      const stack = WINDOW + 0x1800n;
      machine.cpu.write(stack, 0x8123n, 8);
      const before = machine.count("emulated_instructions");
      machine.run(code, {
        [rdi]: at,
        [rsi]: stack,
        [rsp]: stack,
        [rax]: 0x1027n,
        [rcx]: 2n,
        [rdx]: 0n,
        [rbx]: 0n,
      });
      return {
        isEmulated: machine.count("emulated_instructions") > before,
        memory: [0n, 4n, 8n].map((offset) => machine.cpu.read(at + offset)),
        registers: [rax, rcx, rdx, rbx, rsi, rsp].map((register) => machine.value(register)),
        moved: machine.value(rdi) - at,
        flags: machine.cpu.vcpu.code.registers.flags,
      };
    });
    expect(plain?.isEmulated).toBe(false);
    expect(table).toEqual({ ...plain, isEmulated: true });
    expect(machine.finish()).toEqual([]);
  });

  test("that the emulator does not know unshadows the table and is executed", () => {
    const machine = new CodeMachine(levels);
    const before = machine.cpu.read(WINDOW);
    // lock xadd [edi], eax
    expect(machine.run([0xf0, 0x0f, 0xc1, 0x07], { [rdi]: WINDOW, [rax]: 0x200n })).toBe(Status.done);
    expect(machine.count("fault_emulate_failed")).toBe(1);
    expect(machine.count("emulated_instructions")).toBe(0);
    expect(machine.isShadowed).toBe(false);
    expect(machine.value(rax)).toBe(before);
    expect(machine.cpu.read(WINDOW)).toBe(before + 0x200n);
    expect(machine.finish()).toEqual([]);
  });

  test("of user mode that stores to a table unshadows it and is executed", () => {
    const machine = new CodeMachine(levels);
    machine.cpu.enterUserMode();
    expect(machine.run([0x89, 0x07], { [rdi]: WINDOW, [rax]: 0n })).toBe(Status.done);
    expect(machine.count("emulated_instructions")).toBe(0);
    expect(machine.isShadowed).toBe(false);
    expect(machine.finish()).toEqual([]);
  });

  test("that goes on in a page that is not mapped faults there, and nothing has happened", () => {
    const machine = new CodeMachine(levels);
    machine.cpu.writeEntry(machine.tables.entryAt(CODE + 0x1000n, 1), 0n);
    // mov [edi], eax: the second byte would be on the next page.
    machine.load([0x89], 0xfff);
    machine.aim(0xfff, { [rdi]: WINDOW, [rax]: 7n });
    expect(machine.processor.executeNext()).toBe(Status.pageFault);
    expect(machine.cr2).toBe(CODE + 0x1000n);
    // Fetches are told apart where NX or SMEP is on.
    expect(machine.cpu.vcpu.faultErrorCode).toBe(levels === 2 ? 0 : 16);
    expect(machine.cpu.vcpu.code.registers.ripLow).toBe(low(CODE) + 0xfff);
    expect(machine.cpu.read(WINDOW, bytes)).toBe(entryOf(PAGE, USER_PAGE));
    expect(machine.finish()).toEqual([]);
  });

  test("whose last bytes the guest has unmapped under a stale translation faults in the emulator", () => {
    const machine = new CodeMachine(levels);
    machine.cpu.fetch(CODE);
    machine.cpu.fetch(CODE + 0x1000n);
    machine.load([0x89], 0xfff);
    machine.load([0x07], 0, CODE_GFN + 1);
    machine.cpu.writeEntry(machine.tables.entryAt(CODE + 0x1000n, 1), 0n);
    machine.aim(0xfff, { [rdi]: WINDOW, [rax]: 7n });
    expect(machine.countWhile("fault_emulate_write", () => machine.processor.executeNext())).toBe(1);
    expect(machine.cr2).toBe(CODE + 0x1000n);
    expect(machine.cpu.vcpu.faultErrorCode).toBe(levels === 2 ? 0 : 16);
    expect(machine.cpu.vcpu.code.registers.ripLow).toBe(low(CODE) + 0xfff);
    expect(machine.cpu.read(WINDOW, bytes)).toBe(entryOf(PAGE, USER_PAGE));
    // An exception is no failure of the emulator: the table stays shadowed (spec 4.9).
    expect(machine.isShadowed).toBe(true);
    expect(machine.finish()).toEqual([]);
  });

  test("that others have changed meanwhile is emulated as it is now", () => {
    const machine = new CodeMachine(levels);
    // add dword [edi], 16, and behind a stale translation: or byte [edi+1], 2
    machine.load([0x83, 0x07, 0x10]);
    machine.load([0x80, 0x4f, 0x01, 0x02], 0, CODE_GFN + 1);
    machine.cpu.fetch(CODE);
    machine.cpu.writeEntry(machine.tables.entryAt(CODE, 1), entryOf(CODE_GFN + 1, USER_PAGE));
    machine.aim(0, { [rdi]: WINDOW });
    expect(machine.processor.executeNext()).toBe(Status.resumed);
    expect(machine.cpu.vcpu.code.registers.ripLow).toBe(low(CODE) + 4);
    expect(machine.cpu.read(WINDOW, bytes)).toBe(entryOf(PAGE, USER_PAGE) | 0x200n);
    expect(machine.finish()).toEqual([]);
  });

  test("reads what it writes to through the guest's own tables", () => {
    const machine = new CodeMachine(levels);
    machine.tables.map(WINDOW + 0x2000n, PAGE + 5, KERNEL_PAGE & ~Bit.a & ~Bit.d);
    machine.cpu.write(machine.direct((PAGE + 5) * 4096), 0x8027n);
    // movsd from a page that no walk has used yet, to the table
    machine.run([0xa5], { [rsi]: WINDOW + 0x2000n, [rdi]: WINDOW });
    expect(machine.tables.read(machine.tables.entryAt(WINDOW + 0x2000n, 1)) & (Bit.a | Bit.d)).toBe(Bit.a);
    expect(machine.cpu.read(WINDOW)).toBe(0x8027n);
    expect(machine.finish()).toEqual([]);
  });
});

test("a PAE kernel's two halves of an entry cost one exit with emulate-ahead, and the code behind none", () => {
  // mov [edi+4], edx; xor ecx, ecx; mov [edi], eax; hlt
  const code = [0x89, 0x57, 0x04, 0x31, 0xc9, 0x89, 0x07];
  const entry = entryOf(PAGE + 2, USER_PAGE);
  const found = [false, true].map((isAhead) => {
    const machine = new CodeMachine(3, { "emulate-ahead": isAhead });
    machine.load([0xf4], code.length);
    const values = { [rdi]: WINDOW, [rax]: entry, [rcx]: 7n, [rdx]: 0n };
    const faults = machine.countWhile("fault_emulate_write", () => machine.run(code, values));
    expect(machine.cpu.read(WINDOW, 8)).toBe(entry);
    expect(machine.value(rcx)).toBe(0n);
    expect(machine.finish()).toEqual([]);
    return { faults, pt: machine.count("em_ex_pt"), other: machine.count("em_ex_non_pt") };
  });
  expect(found).toEqual([
    { faults: 2, pt: 0, other: 0 },
    { faults: 1, pt: 1, other: 1 },
  ]);
});

test("16-bit code writes to a table, with 32-bit addresses", () => {
  const machine = new CodeMachine(2);
  // mov dword [edi], 0x82027 with both prefixes, as real kernels do before their first far jump
  expect(machine.run([0x66, 0x67, 0xc7, 0x07, 0x27, 0x20, 0x08, 0x00], { [rdi]: WINDOW }, 16)).toBe(
    Status.done,
  );
  expect(machine.count("emulated_instructions")).toBe(1);
  expect(machine.cpu.read(WINDOW)).toBe(0x8_2027n);
  expect(machine.finish()).toEqual([]);
});

test("what is no instruction raises #UD", () => {
  const machine = new CodeMachine(4);
  expect(machine.run([0x06, 0x90], {})).toBe(Status.invalidOpcode);
  expect(machine.run([0xf0, 0x89, 0xc0], {})).toBe(Status.invalidOpcode);
});

test("an instruction of more than 15 bytes raises #GP", () => {
  const machine = new CodeMachine(3);
  const prefixes = Array.from({ length: 13 }, () => 0x3e);
  expect(machine.run([...prefixes, 0x89, 0xc8], { [rcx]: 5n })).toBe(Status.done);
  expect(machine.value(rax)).toBe(5n);
  expect(machine.run([0x3e, ...prefixes, 0x89, 0xc8], {})).toBe(Status.generalProtection);
});

test("an address that is not canonical raises #GP", () => {
  const machine = new CodeMachine(4);
  expect(machine.run([0x48, 0x89, 0x07], { [rdi]: 1n << 60n })).toBe(Status.generalProtection);
});
