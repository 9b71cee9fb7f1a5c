/** Questions for a walker, in a memory of four frames of tables, and what comes of asking them. */
import * as fc from "fast-check";
import { expect } from "vitest";
import { Rights } from "../../src/machine/access-rights.ts";
import { FaultCode } from "../../src/machine/fault-code.ts";
import { AccessedPolicy, WalkFormat, Walker } from "../../src/machine/walker.ts";
import { SharedMemory } from "../../src/memory/shared-memory.ts";
import { frameOf, place, slotOf, walkByTheBook } from "./walker-reference.ts";
import type { Answer, Question } from "./walker-reference.ts";

const FRAMES = 5;
const { twoLevel, pae, fourLevel } = WalkFormat;
const { asPassed, onSuccess, none } = AccessedPolicy;
const { write, user, fetch, implicit } = FaultCode;

/** The memory of all questions. */
export const memory = SharedMemory.create(FRAMES * 1024);
const walkers = new Map<number, Walker>(
  [asPassed, onSuccess, none].map((policy) => [
    policy,
    new Walker(memory, { frameOf, refusesMark: () => false }, policy),
  ]),
);

/** A linear address whose slots differ from level to level. */
export const ADDRESS = (0x15n << 39n) | (0x1a3n << 30n) | (0x0c7n << 21n) | (0x042n << 12n) | 0xabcn;

/** A question whose tables hang together: the root is frame 1, and the entries given are those of the walk. */
export function chain(given: {
  format?: number;
  entries?: readonly bigint[];
  access?: number;
  mode?: number;
  policy?: number;
}): Question {
  const format = given.format ?? fourLevel;
  const list = given.entries ?? [0x2007n, 0x3007n, 0x4007n, 0x4_5067n];
  const address = format === fourLevel ? ADDRESS : format === pae ? ADDRESS & 0xffff_ffffn : 0x01c0_4abcn;
  const entries = new Map<string, bigint>();
  let mfn = 1;
  for (const [index, entry] of list.entries()) {
    if (mfn < 0) break;
    entries.set(place(mfn, slotOf(format, format - index, address)), entry);
    mfn = frameOf(Number(BigInt.asUintN(28, entry >> 12n)));
  }
  const pdptes = [0n, 0n, 0n, 0n];
  if (format === pae) pdptes[Number(address >> 30n)] = list[0] ?? 0n;
  const { access = 0, mode = 0, policy = asPassed } = given;
  return { format, root: 1, address, access, mode, policy, pdptes, entries };
}

/** Questions over four frames of tables that refer to each other, and to themselves, in every way. */
export function questions(format: number): fc.Arbitrary<Question> {
  const bits = format === fourLevel ? 48 : 32;
  return fc
    .record({
      root: fc.constantFrom(1, 2, 3, 4),
      address: fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n }),
      access: accesses,
      mode: fc.nat(0xff),
      policy: fc.constantFrom(asPassed, onSuccess, none),
      pdptes: fc.array(pdpteValues, { minLength: 4, maxLength: 4 }),
      values: fc.array(entryValues, { minLength: 16, maxLength: 16 }),
    })
    .map(({ values, root, address, access, mode, policy, pdptes }) => {
      const entries = new Map<string, bigint>();
      for (const [index, value] of values.entries()) {
        const level = (index >> 2) + 1;
        if (level > format) break;
        const entry = format === twoLevel ? BigInt.asUintN(32, value) : value;
        entries.set(place((index & 3) + 1, slotOf(format, level, address)), entry);
      }
      return { format, root, address, access, mode, policy, pdptes, entries };
    });
}

const accesses = fc
  .tuple(fc.constantFrom(0, write, fetch), fc.constantFrom(0, user, implicit))
  .map(([kind, who]) => kind | who);

/** Mostly usable; now and then with a bit that may be reserved. */
const oddBits = fc.oneof(
  { weight: 12, arbitrary: fc.constant(0n) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(8, 12, 13, 20, 21, 25, 29, 40, 51, 52, 62).map((bit) => 1n << BigInt(bit)),
  },
);

const targets = fc
  .tuple(fc.constantFrom(0n, 0x4_0000n, 0xffc_0000n), fc.constantFrom(0n, 0n, 1n, 1n, 2n, 3n, 4n, 5n))
  .map(([base, frame]) => (base | frame) << 12n);

const entryValues = fc
  .record({
    target: targets,
    odd: oddBits,
    isPresent: fc.integer({ min: 0, max: 15 }),
    rights: fc.constantFrom(0n, 2n, 4n, 6n, 6n, 6n),
    marks: fc.constantFrom(0n, 0x20n, 0x60n),
    large: fc.constantFrom(0n, 0n, 0x80n),
    noExecute: fc.constantFrom(0n, 0n, 0n, 1n << 63n),
  })
  .map((of) =>
    [of.target, of.odd, of.rights, of.marks, of.large, of.noExecute].reduce(
      (entry, each) => entry | each,
      of.isPresent === 0 ? 0n : 1n,
    ),
  );

const pdpteValues = fc
  .tuple(targets, oddBits, fc.constantFrom(0n, 1n, 1n, 1n, 1n, 1n, 3n))
  .map(([target, odd, flags]) => target | odd | flags);

/** An answer, and memory after it. */
export interface Outcome {
  readonly answer: Answer;
  readonly entries: Map<string, bigint>;
}

/** What the walker makes of a question, and what memory holds afterwards. */
export function ask(question: Question): Outcome {
  plant(question);
  const { errorCode, stopLevel, leafLevel, frame, pageShift, rights, dirty } = walk(question);
  const page = stopLevel === 0 ? { leafLevel, frame, pageShift, rights, dirty } : NO_PAGE;
  return { answer: { errorCode, stopLevel, ...page }, entries: harvest(question) };
}

const NO_PAGE = { leafLevel: 0, frame: 0, pageShift: 0, rights: 0, dirty: 0 };

/** What the manual makes of it. */
export function askTheBook(question: Question): Outcome {
  const entries = new Map(question.entries);
  return { answer: walkByTheBook({ ...question, entries }), entries };
}

/** Whether two outcomes have different answers. */
export function differs(one: Outcome, other: Outcome): boolean {
  return Object.entries(one.answer).some(([field, value]) => Reflect.get(other.answer, field) !== value);
}

/** Walks in the memory as it is; the walker, which has the answer. */
export function walk(question: Question): Walker {
  const walker = walkerOf(question);
  const [low, high] = halves(question.address);
  const { format, root, access, mode } = question;
  const isPermitted = walker.walk(format, format, root, Rights.all, low, high, access, mode);
  expect(isPermitted).toBe(walker.stopLevel === 0);
  return walker;
}

/** The walker that a question is for. */
export function walkerOf({ policy }: Question): Walker {
  const walker = walkers.get(policy);
  if (walker === undefined) throw new Error(`no walker of policy ${policy}`);
  return walker;
}

/** Makes memory what the question says. */
export function plant(question: Question): void {
  memory.fillWords(0, FRAMES * 1024, 0);
  const walker = walkerOf(question);
  for (const [slot, pdpte] of question.pdptes.entries()) {
    [walker.pdpteLow[slot], walker.pdpteHigh[slot]] = halves(pdpte);
  }
  for (const [where, entry] of question.entries) {
    const { mfn, slot } = parsePlace(where);
    const [low, high] = halves(entry);
    if (question.format === twoLevel) memory.storeWord((mfn << 10) | slot, low);
    else memory.storeEntry((mfn << 10) | (slot << 1), low, high);
  }
}

function harvest({ format, entries }: Question): Map<string, bigint> {
  return new Map(
    Array.from(entries.keys(), (where) => {
      const { mfn, slot } = parsePlace(where);
      if (format === twoLevel) return [where, joined(memory.loadWord((mfn << 10) | slot), 0)];
      const low = memory.loadEntry((mfn << 10) | (slot << 1));
      return [where, joined(low, memory.high)];
    }),
  );
}

function parsePlace(where: string): { mfn: number; slot: number } {
  const [mfn = 0, slot = 0] = (where.match(/\d+/g) ?? []).map(Number);
  return { mfn, slot };
}

/** The two int32 halves of a 64-bit number. */
export function halves(value: bigint): [low: number, high: number] {
  return [Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))];
}

function joined(low: number, high: number): bigint {
  return (BigInt.asUintN(32, BigInt(high)) << 32n) | BigInt.asUintN(32, BigInt(low));
}
