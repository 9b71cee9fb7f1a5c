/** The hash of shadows (spec 2). */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashBucket } from "../../src/hypervisor/shadow/hash.ts";
import { ShadowType } from "../../src/hypervisor/shadow/shadow-type.ts";
import { DomainCell } from "../../src/memory/domain-area.ts";
import { mfn } from "../../src/memory/units.ts";
import type { Mfn } from "../../src/memory/units.ts";
import { TestMachine } from "./test-machine.ts";

/** Xen's function in integers without bounds: five bytes, least significant first, modulo 2^32, modulo 251. */
function bucketByTheBook(frame: bigint, type: bigint): number {
  let key = type;
  for (let byte = 0n; byte < 5n; byte++) key = (65599n * key + ((frame >> (8n * byte)) & 0xffn)) % 2n ** 32n;
  return Number(key % 251n);
}

describe("a bucket", () => {
  test("is that of the specification for every frame and type", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 28 - 1 }),
        fc.integer({ min: 1, max: 15 }),
        (frame, type) => {
          expect(hashBucket(frame, type)).toBe(bucketByTheBook(BigInt(frame), BigInt(type)));
        },
      ),
    );
  });

  test.each([
    { frame: 0, type: 1, bucket: 131 },
    { frame: 1, type: 7, bucket: 106 },
    { frame: 0xfff_ffff, type: 12, bucket: 83 },
  ])("of $frame as type $type is $bucket", ({ frame, type, bucket }) => {
    expect(hashBucket(frame, type)).toBe(bucket);
  });
});

/** Frames whose shadows of one type share a bucket. */
function collidingFrames(type: number, count: number): number[] {
  const frames = [1];
  for (let frame = 2; frames.length < count; frame++)
    if (hashBucket(frame, type) === hashBucket(1, type)) frames.push(frame);
  return frames;
}

/** A machine whose hash has three shadows in one chain. They are no shadows of anything: it is not audited. */
function withChain(): { machine: TestMachine; frames: number[]; shadows: Mfn[] } {
  const machine = new TestMachine({ levels: 4 });
  const frames = collidingFrames(ShadowType.l1_64, 3);
  const shadows = machine.locked(({ pool, hash }) =>
    frames.map((frame) => {
      const shadow = pool.alloc(ShadowType.l1_64, 1, frame);
      hash.insertShadow(frame, ShadowType.l1_64, shadow);
      return shadow;
    }),
  );
  return { machine, frames, shadows };
}

describe("a chain", () => {
  test("is searched from its head, and a hit moves there", () => {
    const { machine, frames, shadows } = withChain();
    const { hash } = machine.shadow;
    const lookup = (index: number): Mfn => hash.lookup(frames[index] ?? 0, ShadowType.l1_64);
    expect(machine.countWhile("hash_lookup_head", () => lookup(2))).toBe(1);
    expect(machine.countWhile("hash_lookup_head", () => lookup(0))).toBe(0);
    expect(machine.countWhile("hash_lookup_head", () => lookup(0))).toBe(1);
    expect([0, 1, 2].map(lookup)).toEqual(shadows);
  });

  test("keeps its order while it is scanned", () => {
    const { machine, frames, shadows } = withChain();
    const { hash, domain } = machine.shadow;
    const seen: number[] = [];
    hash.visitAll(1 << ShadowType.l1_64, {
      visit(shadow) {
        expect(domain.read(DomainCell.hashWalking)).toBe(1);
        expect(hash.lookup(frames[0] ?? 0, ShadowType.l1_64)).toBe(shadows[0]);
        seen.push(shadow);
        return false;
      },
    });
    expect(seen).toEqual(shadows.toReversed());
    expect(domain.read(DomainCell.hashWalking)).toBe(0);
  });

  test("gives up any of its shadows, and each only once", () => {
    for (const index of [0, 1, 2]) {
      const { machine, frames, shadows } = withChain();
      const { hash } = machine.shadow;
      const shadow = mfn(shadows[index] ?? 0);
      expect(hash.remove(frames[index] ?? 0, ShadowType.l1_64, shadow)).toBe(true);
      expect(hash.remove(frames[index] ?? 0, ShadowType.l1_64, shadow)).toBe(false);
      const left = frames.map((frame) => hash.lookup(frame, ShadowType.l1_64));
      expect(left).toEqual(shadows.map((each, at) => (at === index ? 0 : each)));
    }
  });
});

test("a frame is found under its own type only", () => {
  const { machine, frames } = withChain();
  const { hash } = machine.shadow;
  expect(machine.countWhile("hash_lookup_miss", () => hash.lookup(frames[0] ?? 0, ShadowType.l2_64))).toBe(1);
});

test("a scan visits only the types asked for, and stops when told to", () => {
  const machine = TestMachine.running({ levels: 4 });
  machine.cpu.read(machine.direct(0));
  const visited: number[] = [];
  const visitor = (stopAt: number): { visit: (shadow: Mfn, type: number) => boolean } => ({
    visit: (_, type): boolean => {
      visited.push(type);
      return visited.length === stopAt;
    },
  });
  machine.locked(({ hash }) => hash.visitAll(-1, visitor(0)));
  expect(visited.toSorted((a, b) => a - b)).toEqual([
    ShadowType.l2_32,
    ShadowType.fl1_64,
    ShadowType.l2_64,
    ShadowType.l3_64,
    ShadowType.l4_64,
  ]);
  visited.length = 0;
  machine.locked(({ hash }) => hash.visitAll(1 << ShadowType.l2_64, visitor(0)));
  expect(visited).toEqual([ShadowType.l2_64]);
  visited.length = 0;
  machine.locked(({ hash }) => hash.visitAll(-1, visitor(2)));
  expect(visited.length).toBe(2);
  expect(machine.finish()).toEqual([]);
});
