/** Invariants of the hash of shadows and of the flags on guest pages (spec 15.1, I8). */
import { FrameUse, SHADOWED } from "../memory/frame-table.ts";
import { HASH_BUCKETS } from "../memory/layout.ts";
import { mfn } from "../memory/units.ts";
import { hashBucket } from "../hypervisor/shadow/hash.ts";
import { ShadowType, isFakeLeafType, shadowTypeName } from "../hypervisor/shadow/shadow-type.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./machine-view.ts";
import type { MachineView } from "./machine-view.ts";

const TYPE_BITS = (1 << 13) - 1;

/** Shadows in the chains of the hash, with the bucket each was found in. */
function* chained(view: MachineView): Iterable<{ readonly shadow: number; readonly bucket: number }> {
  const { offset } = view.machine.layout.regions.hash;
  for (let bucket = 0; bucket < HASH_BUCKETS; bucket++) {
    let at = view.memory.loadGuarded(offset + bucket);
    for (let length = 0; at !== 0 && length < view.frames.frames; length++) {
      yield { shadow: at, bucket };
      at = view.frames.hashNext(mfn(at));
    }
  }
}

/** Every shadow is in the chain of its key, once. */
export const shadowsAreHashed: Invariant = {
  name: "shadows-are-hashed",
  source: "spec 15.1, I8",
  because:
    "a lookup that misses an existing shadow makes a second one, and only one of the two is kept up to date",
  *violations(view) {
    const expected = new Map(view.shadows.map((shadow) => [Number(shadow.head), shadow]));
    for (const { shadow, bucket } of chained(view)) {
      const info = expected.get(shadow);
      if (info === undefined)
        yield `the hash holds frame ${hex(shadow)}, which is no shadow or is there twice`;
      else if (hashBucket(info.back, info.type) !== bucket)
        yield `shadow ${hex(shadow)} is in bucket ${String(bucket)}, which is not that of its key`;
      expected.delete(shadow);
    }
    for (const [head, info] of expected)
      yield `${shadowTypeName(info.type)} shadow ${hex(head)} of ${hex(info.back)} is not in the hash`;
  },
};

/** A guest page's flags say exactly which shadows it has. */
export const flagsMatchShadows: Invariant = {
  name: "flags-match-shadows",
  source: "spec 15.1, I8",
  because: "a page that is not known as a pagetable can be mapped writable, and its shadow goes stale",
  *violations(view) {
    const wanted = new Map<number, number>();
    for (const shadow of view.shadows)
      if (!isFakeLeafType(shadow.type))
        wanted.set(shadow.back, (wanted.get(shadow.back) ?? SHADOWED) | (1 << shadow.type));
    for (let number = 1; number < view.frames.frames; number++) {
      const frame = mfn(number);
      if (view.frames.use(frame) !== FrameUse.guest) continue;
      const flags = view.frames.shadowFlags(frame) & (SHADOWED | TYPE_BITS);
      if (flags !== (wanted.get(number) ?? 0))
        yield `page ${hex(number)} has shadow flags ${hex(flags)}, its shadows are ${hex(wanted.get(number) ?? 0)}`;
    }
  },
};

/** One shadow a page and type. */
export const shadowsAreUnique: Invariant = {
  name: "shadows-are-unique",
  source: "spec 1.4, 15.1",
  because: "of two shadows of one table only one is found by lookups, the other goes stale",
  *violations(view) {
    const seen = new Set<number>();
    for (const { head, type, back } of view.shadows) {
      const key = back * ShadowType.p2m_table + type;
      if (seen.has(key)) yield `a second ${shadowTypeName(type)} shadow ${hex(head)} exists for ${hex(back)}`;
      seen.add(key);
    }
  },
};
