/**
 * Atomic accesses to the shared memory as a WebAssembly module, assembled here byte by byte.
 *
 * Pagetable entries are 64 bits wide and must be read and written in one access. JavaScript can do that only with
 * BigInt (about 75 ns for a load with both halves taken out); the same load in WebAssembly takes 12 ns, less than
 * `Atomics.load` of an Int32Array, because V8 compiles wasm atomics inline but calls a builtin for those of
 * JavaScript. So the 32-bit accesses go this way too. See docs/decisions/0002-atomics-in-webassembly.md.
 *
 * Memory 0 is the shared one. Memory 1 is private to the instance: two words through which the half of a 64-bit
 * value that does not fit into the i32 result comes back.
 */

/** The functions of the module. Addresses are byte addresses, aligned to the size of the access. */
export interface WasmAtomics {
  load32(address: number): number;
  store32(address: number, value: number): void;
  compareExchange32(address: number, expected: number, value: number): number;
  add32(address: number, delta: number): number;
  or32(address: number, bits: number): number;
  and32(address: number, bits: number): number;
  exchange32(address: number, value: number): number;
  /** Returns the low half; the high half is in word 0 of `scratch`. */
  load64(address: number): number;
  store64(address: number, low: number, high: number): void;
  /** Returns 1 if it stored; what it saw is in words 1 (low) and 0 (high) of `scratch`. */
  compareExchange64(
    address: number,
    expectedLow: number,
    expectedHigh: number,
    low: number,
    high: number,
  ): number;
  load8(address: number): number;
  store8(address: number, value: number): void;
  compareExchange8(address: number, expected: number, value: number): number;
  load16(address: number): number;
  store16(address: number, value: number): void;
  compareExchange16(address: number, expected: number, value: number): number;
  readonly scratch: { readonly buffer: ArrayBuffer };
}

const I32 = 0x7f;
const I64 = 0x7e;
const END = 0x0b;
const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

function name(text: string): number[] {
  return [text.length, ...Array.from(text, (letter) => letter.charCodeAt(0))];
}

function vector(items: readonly number[][]): number[] {
  return [...leb(items.length), ...items.flat()];
}

function section(id: number, bytes: number[]): number[] {
  return [id, ...leb(bytes.length), ...bytes];
}

function get(local: number): number[] {
  return [0x20, local];
}

/** An atomic instruction: prefix 0xFE, opcode, log2 of the alignment, offset 0. */
function atomic(opcode: number, alignment: number): number[] {
  return [0xfe, opcode, alignment, 0];
}

/** Two i32 locals joined to an i64 on the stack. */
function join64(low: number, high: number): number[] {
  return [...get(high), 0xad, 0x42, 32, 0x86, ...get(low), 0xad, 0x84];
}

/** Stores the upper half (shift 32) or the lower half (shift 0) of i64 local `value` to the scratch memory. */
function toScratch(value: number, shift: number, offset: number): number[] {
  const half = shift === 0 ? [...get(value), 0xa7] : [...get(value), 0x42, shift, 0x88, 0xa7];
  // 0x42 in the memarg: alignment 4 with the flag that a memory index (1) follows.
  return [0x41, 0, ...half, 0x36, 0x42, 1, offset];
}

interface WasmFunction {
  readonly name: string;
  readonly parameters: number;
  readonly result: boolean;
  readonly i64Locals: number;
  readonly code: readonly number[];
}

function simple(functionName: string, parameters: number, result: boolean, code: number[]): WasmFunction {
  const operands = Array.from({ length: parameters }, (_, local) => get(local)).flat();
  return { name: functionName, parameters, result, i64Locals: 0, code: [...operands, ...code] };
}

const FUNCTIONS: readonly WasmFunction[] = [
  simple("load32", 1, true, atomic(0x10, 2)),
  simple("store32", 2, false, atomic(0x17, 2)),
  simple("compareExchange32", 3, true, atomic(0x48, 2)),
  simple("add32", 2, true, atomic(0x1e, 2)),
  simple("or32", 2, true, atomic(0x33, 2)),
  simple("and32", 2, true, atomic(0x2c, 2)),
  simple("exchange32", 2, true, atomic(0x41, 2)),
  {
    name: "load64",
    parameters: 1,
    result: true,
    i64Locals: 1,
    code: [...get(0), ...atomic(0x11, 3), 0x21, 1, ...toScratch(1, 32, 0), ...get(1), 0xa7],
  },
  {
    name: "store64",
    parameters: 3,
    result: false,
    i64Locals: 0,
    code: [...get(0), ...join64(1, 2), ...atomic(0x18, 3)],
  },
  {
    name: "compareExchange64",
    parameters: 5,
    result: true,
    i64Locals: 1,
    code: [
      ...get(0),
      ...join64(1, 2),
      ...join64(3, 4),
      ...atomic(0x49, 3),
      0x21,
      5,
      ...toScratch(5, 32, 0),
      ...toScratch(5, 0, 4),
      ...get(5),
      ...join64(1, 2),
      0x51,
    ],
  },
  simple("load8", 1, true, atomic(0x12, 0)),
  simple("store8", 2, false, atomic(0x19, 0)),
  simple("compareExchange8", 3, true, atomic(0x4a, 0)),
  simple("load16", 1, true, atomic(0x13, 1)),
  simple("store16", 2, false, atomic(0x1a, 1)),
  simple("compareExchange16", 3, true, atomic(0x4b, 1)),
];

function moduleBytes(pages: number): Uint8Array<ArrayBuffer> {
  const types = FUNCTIONS.map((f) => [
    0x60,
    f.parameters,
    ...Array<number>(f.parameters).fill(I32),
    ...(f.result ? [1, I32] : [0]),
  ]);
  const sharedWithMaximum = 3;
  const imports = [[...name("umbra"), ...name("memory"), 2, sharedWithMaximum, ...leb(pages), ...leb(pages)]];
  const exports = [...FUNCTIONS.map((f, index) => [...name(f.name), 0, index]), [...name("scratch"), 2, 1]];
  const bodies = FUNCTIONS.map((f) => {
    const locals = f.i64Locals === 0 ? [0] : [1, f.i64Locals, I64];
    const body = [...locals, ...f.code, END];
    return [...leb(body.length), ...body];
  });
  return new Uint8Array([
    ...MAGIC_AND_VERSION,
    ...section(1, vector(types)),
    ...section(2, vector(imports)),
    ...section(3, vector(FUNCTIONS.map((_, index) => [index]))),
    ...section(5, vector([[0, 1]])),
    ...section(7, vector(exports)),
    ...section(10, vector(bodies)),
  ]);
}

/**
 * Instantiates the accessors over a shared memory of exactly `pages` 64 KiB pages.
 *
 * @throws WebAssembly.LinkError when the memory has another size.
 */
export function instantiateAtomics(memory: WebAssembly.Memory, pages: number): WasmAtomics {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes(pages)), {
    umbra: { memory },
  });
  const exports: unknown = instance.exports;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the bytes above say what it exports
  return exports as WasmAtomics;
}
