/** Accessors of the shared memory against the same bytes seen through a DataView. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SharedMemory } from "../../src/memory/shared-memory.ts";

const CELL = 128;
const words = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

function fresh(): { memory: SharedMemory; bytes: DataView } {
  const memory = SharedMemory.create(1024);
  return { memory, bytes: new DataView(memory.handle.memory.buffer) };
}

describe("64-bit entries", () => {
  test("are stored and loaded as their two halves, low half first", () => {
    const { memory, bytes } = fresh();
    fc.assert(
      fc.property(words, words, (low, high) => {
        memory.storeEntry(CELL, low, high);
        expect([bytes.getInt32(CELL * 4, true), bytes.getInt32(CELL * 4 + 4, true)]).toEqual([low, high]);
        expect([memory.loadEntry(CELL), memory.high]).toEqual([low, high]);
      }),
    );
  });

  test("are exchanged only if both halves are as expected, and what was there is told", () => {
    const { memory } = fresh();
    const halves = fc.constantFrom(0, 1, -1, -(2 ** 31));
    fc.assert(
      fc.property(
        halves,
        halves,
        halves,
        halves,
        words,
        words,
        (low, high, wantLow, wantHigh, newLow, newHigh) => {
          memory.storeEntry(CELL, low, high);
          const isStored = memory.compareExchangeEntry(CELL, wantLow, wantHigh, newLow, newHigh);
          expect(isStored).toBe(low === wantLow && high === wantHigh);
          expect([memory.low, memory.high]).toEqual([low, high]);
          const now = [memory.loadEntry(CELL), memory.high];
          expect(now).toEqual(isStored ? [newLow, newHigh] : [low, high]);
        },
      ),
    );
  });
});

test("words are added, masked and exchanged modulo 2^32, and tell what was there", () => {
  const { memory } = fresh();
  fc.assert(
    fc.property(words, words, (first, second) => {
      memory.storeWord(CELL, first);
      expect([memory.addWord(CELL, second), memory.loadWord(CELL)]).toEqual([first, (first + second) | 0]);
      memory.storeWord(CELL, first);
      expect([memory.orWord(CELL, second), memory.loadWord(CELL)]).toEqual([first, first | second]);
      memory.storeWord(CELL, first);
      expect([memory.andWord(CELL, second), memory.loadWord(CELL)]).toEqual([first, first & second]);
      expect([memory.exchangeWord(CELL, second), memory.loadWord(CELL)]).toEqual([first & second, second]);
      expect(memory.compareExchangeWord(CELL, ~second, first)).toBe(second);
      expect(memory.loadWord(CELL)).toBe(second);
    }),
  );
});

test.each([1, 2])("accesses of %i bytes leave their neighbours alone", (size) => {
  const { memory, bytes } = fresh();
  const mask = size === 1 ? 0xff : 0xffff;
  fc.assert(
    fc.property(words, words, fc.nat(8 / size - 1), (value, next, place) => {
      memory.storeEntry(CELL, -1, 0);
      const before = Array.from({ length: 8 }, (_, byte) => bytes.getUint8(CELL * 4 + byte));
      const address = CELL * 4 + place * size;
      const [load, store, exchange] =
        size === 1
          ? [
              memory.loadByte.bind(memory),
              memory.storeByte.bind(memory),
              memory.compareExchangeByte.bind(memory),
            ]
          : [
              memory.loadHalf.bind(memory),
              memory.storeHalf.bind(memory),
              memory.compareExchangeHalf.bind(memory),
            ];
      store(address, value);
      expect(load(address)).toBe(value & mask);
      expect(exchange(address, value, next)).toBe(value & mask);
      expect(load(address)).toBe(next & mask);
      const changed = before.flatMap((old, byte) => (bytes.getUint8(CELL * 4 + byte) === old ? [] : [byte]));
      expect(changed.filter((byte) => Math.floor(byte / size) !== place)).toEqual([]);
    }),
  );
});

test("another view of the same memory sees what was stored", () => {
  const { memory } = fresh();
  const other = SharedMemory.attach(memory.handle);
  memory.storeEntry(CELL, 5, -7);
  expect([other.loadEntry(CELL), other.high]).toEqual([5, -7]);
});
