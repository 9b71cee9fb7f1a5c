/** Invariants of the hash of shadows and of the flags on guest pages (spec 15.1, I8). */
import { SHADOWED } from "../memory/frame-table.ts";
import { HASH_BUCKETS } from "../memory/layout.ts";
import { mfn } from "../memory/units.ts";
import { hashBucket } from "../hypervisor/shadow/hash.ts";
import { isFakeLeafType, shadowTypeName } from "../hypervisor/shadow/shadow-type.ts";
import { UNDER_LOCK } from "./invariant.ts";
import type { Invariant } from "./invariant.ts";
import { hex } from "./hex.ts";
import type { AuditView, ShadowInfo } from "./audit-view.ts";

const TYPE_BITS = (1 << 13) - 1;

/** Shadows in the chains of the hash, with the bucket each was found in. */
function* chained(view: AuditView): Iterable<{ readonly shadow: number; readonly bucket: number }> {
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
  topic: "hash",
  inFlight: UNDER_LOCK,
  *violations(view) {
    const expected = new Map<number, ShadowInfo>();
    for (const shadow of view.allShadows()) expected.set(shadow.head, shadow);
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
  topic: "entries",
  inFlight: UNDER_LOCK,
  *violations(view) {
    for (const page of view.guestPages) {
      let due = 0;
      for (const { type } of view.shadowsOf(page)) if (!isFakeLeafType(type)) due |= SHADOWED | (1 << type);
      const flags = view.frames.shadowFlags(page) & (SHADOWED | TYPE_BITS);
      if (flags !== due)
        yield `page ${hex(page)} has shadow flags ${hex(flags)}, its shadows are ${hex(due)}`;
    }
  },
};

/** One shadow a page and type. */
export const shadowsAreUnique: Invariant = {
  name: "shadows-are-unique",
  source: "spec 1.4, 15.1",
  because: "of two shadows of one table only one is found by lookups, the other goes stale",
  topic: "entries",
  inFlight: UNDER_LOCK,
  *violations(view) {
    for (const { head, type, back } of view.shadows)
      if (view.shadowsOf(back).some((other) => other.type === type && other.head < head))
        yield `a second ${shadowTypeName(type)} shadow ${hex(head)} exists for ${hex(back)}`;
  },
};
