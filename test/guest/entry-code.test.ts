/** The machine code of kernels is what its comments say, and a kernel with it does what one without it does. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from "iced-x86";
import { expect, test } from "vitest";
import { entryCode } from "../../src/guest/kernel/entry-code.ts";
import type { Kernel } from "../../src/guest/kernel/kernel.ts";
import { PERSONALITIES } from "../../src/guest/kernel/address-map.ts";
import { PRESETS } from "../../src/hypervisor/machine-config.ts";
import { GUEST_FORMATS } from "../../src/guest/scenario.ts";
import { readSource } from "../source.ts";
import { GuestMachine } from "./guest-machine.ts";

/** Bytes and the assembly beside them, line by line. */
const LINES = [
  ...readSource("src/guest/kernel/entry-code.ts").text.matchAll(
    /\[((?:0x[0-9a-f]{2}(?:, )?)+)\],? \/\/ (.+)/g,
  ),
].map(([, bytes = "", text = ""]) => ({ bytes: bytes.split(", ").map(Number), text }));

test("every line of code is commented", () => {
  expect(LINES.length).toBe(30);
});

test.each(LINES.filter(({ text }) => !text.startsWith("jne")))("$text is its bytes", ({ bytes, text }) => {
  const decoder = new Decoder(
    /\br[a-z]{2}\b|q$/.test(text) ? 64 : 32,
    Uint8Array.from(bytes),
    DecoderOptions.None,
  );
  const formatter = new Formatter(FormatterSyntax.Nasm);
  const instruction = decoder.decode();
  const found = formatter
    .format(instruction)
    .replaceAll(",", ", ")
    .replaceAll(/\b([0-9A-F]+)h\b/g, (_, digits: string) => String(Number(`0x${digits}`)));
  const wanted = text.replaceAll(/0x[0-9a-f]+/g, (digits) => String(Number(digits)));
  expect(instruction.length).toBe(bytes.length);
  expect(found).toBe(wanted);
});

test.each(GUEST_FORMATS)("the jumps of %s code go to instructions of their own routine", (format) => {
  const { bytes, routines } = entryCode(format);
  for (const { start, end } of Object.values(routines)) {
    const decoder = new Decoder(
      format === "4level" ? 64 : 32,
      Uint8Array.from(bytes.slice(start, end)),
      DecoderOptions.None,
    );
    const starts = new Set<bigint>();
    const targets: bigint[] = [];
    while (decoder.canDecode) {
      starts.add(decoder.ip);
      const instruction = decoder.decode();
      if (instruction.isJccShort) targets.push(instruction.nearBranchTarget);
    }
    expect(targets.every((target) => starts.has(target))).toBe(true);
    expect(decoder.ip).toBe(BigInt(end - start));
  }
});

const PAGE = 4096;
const HOME = 0x1000_0000;

for (const format of GUEST_FORMATS) {
  test.each(PERSONALITIES)(
    `a kernel of ${format} with a %s does the same with and without machine code`,
    (personality) => {
      const [byCode, byOperations] = [true, false].map((machineCode) => {
        const guest = new GuestMachine({
          format,
          config: { switches: PRESETS[machineCode ? "xen-3.3" : "talk"] },
        });
        const kernel = guest.start({ personality, machineCode, areas: [{ start: HOME, pages: 4 }] });
        const seen = exercise(kernel);
        expect(guest.findings).toEqual([]);
        return seen;
      });
      expect(byCode).toEqual(byOperations);
      expect(byCode?.at(-1)).toBe(11);
    },
  );
}

/** Fills, protects, harvests, moves, forks; what was in memory at each step. */
function exercise(kernel: Kernel): number[] {
  const { cpu, memory, spaces } = kernel;
  const seen: number[] = [];
  kernel.enterNewSpace();
  for (let page = 0; page < 4; page++) cpu.store32(HOME + page * PAGE, 10 + page);
  seen.push(memory.harvestAccess(HOME) & 0x67, memory.harvestAccess(HOME) & 0x67);
  memory.protectPages(HOME, 4);
  seen.push(memory.leafEntry(HOME) & 3);
  cpu.store32(HOME, 20);
  seen.push(memory.leafEntry(HOME) & 3, Number(memory.movePage(HOME)), cpu.load32(HOME));
  const child = memory.forkSpace();
  cpu.store32(HOME + PAGE, 30);
  const parent = spaces.current;
  spaces.switchTo(child);
  seen.push(cpu.load32(HOME), cpu.load32(HOME + PAGE));
  memory.unmapPages(HOME, 4);
  seen.push(cpu.load32(HOME));
  spaces.switchTo(parent);
  if (spaces.dropUser(child)) memory.destroySpace(child);
  seen.push(cpu.load32(HOME + PAGE), 11);
  kernel.exitSpace();
  return seen;
}
