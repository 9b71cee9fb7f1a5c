/** The hash of shadows: (frame, type) to shadow (spec 2). Chains go through the shadows themselves. */
import { Counter } from "../../memory/counters.ts";
import { DomainCell } from "../../memory/domain-area.ts";
import { HASH_BUCKETS } from "../../memory/layout.ts";
import { mfn } from "../../memory/units.ts";
import type { Mfn } from "../../memory/units.ts";
import type { Shadow } from "./shadow.ts";

// Private copies: V8 folds a module's own constants, but reads those of others at every use.
const HASH_DELETES = Counter.hash_deletes;
const HASH_INSERTS = Counter.hash_inserts;
const HASH_LOOKUPS = Counter.hash_lookups;
const HASH_LOOKUP_HEAD = Counter.hash_lookup_head;
const HASH_LOOKUP_MISS = Counter.hash_lookup_miss;
const DOMAIN_HASH_WALKING = DomainCell.hashWalking;

/** Called for shadows found by a scan. True stops it; who inserts or removes a shadow must stop it. */
export interface ShadowVisitor {
  visit(shadow: Mfn, type: number): boolean;
}

const KEY_BYTES = 5;

/** The bucket of a key: 32-bit arithmetic, exactly as Xen's. `frame` is below 2^28, so the fifth byte is 0. */
export function hashBucket(frame: number, type: number): number {
  let key = type;
  for (let byte = 0; byte < KEY_BYTES; byte++) {
    const value = byte < 4 ? (frame >>> (8 * byte)) & 0xff : 0;
    key = (Math.imul(key, 65599) + value) >>> 0;
  }
  return key % HASH_BUCKETS;
}

/** The hash table. Callers hold the paging lock, who only look something up at least in part. */
export class ShadowHash {
  readonly #shadow: Shadow;
  readonly #heads: number;

  constructor(shadow: Shadow) {
    this.#shadow = shadow;
    this.#heads = shadow.layout.regions.hash.offset;
  }

  /** The shadow of a frame as a type, 0 when there is none. A hit moves to the front of its chain, under the whole lock. */
  lookup(frame: number, type: number): Mfn {
    const { memory, frames, counters, domain, perPage } = this.#shadow;
    counters.add(HASH_LOOKUPS);
    const bucket = this.#heads + hashBucket(frame, type);
    const head = mfn(memory.loadGuarded(bucket));
    let previous = mfn(0);
    for (let at = head; at !== 0; at = frames.hashNext(at)) {
      if (frames.back(at) === frame && frames.type(at) === type) {
        if (previous === 0) counters.add(HASH_LOOKUP_HEAD);
        else if (!perPage.isIn() && domain.read(DOMAIN_HASH_WALKING) === 0) {
          frames.setHashNext(previous, frames.hashNext(at));
          frames.setHashNext(at, head);
          memory.storeGuarded(bucket, at);
        }
        return at;
      }
      previous = at;
    }
    counters.add(HASH_LOOKUP_MISS);
    return mfn(0);
  }

  /** Puts a shadow at the head of its chain. */
  insertShadow(frame: number, type: number, shadow: Mfn): void {
    const { memory, frames, counters } = this.#shadow;
    counters.add(HASH_INSERTS);
    const bucket = this.#heads + hashBucket(frame, type);
    frames.setHashNext(shadow, memory.loadGuarded(bucket));
    memory.storeGuarded(bucket, shadow);
  }

  /** Takes a shadow out; false when it was not there. */
  remove(frame: number, type: number, shadow: Mfn): boolean {
    const { memory, frames, counters } = this.#shadow;
    counters.add(HASH_DELETES);
    const bucket = this.#heads + hashBucket(frame, type);
    let previous = mfn(0);
    for (let at = mfn(memory.loadGuarded(bucket)); at !== 0; at = frames.hashNext(at)) {
      if (at === shadow) {
        if (previous === 0) memory.storeGuarded(bucket, frames.hashNext(at));
        else frames.setHashNext(previous, frames.hashNext(at));
        frames.setHashNext(at, 0);
        return true;
      }
      previous = at;
    }
    return false;
  }

  /** Visits every shadow whose type's bit is in `types`, until a visit answers true. */
  visitAll(types: number, visitor: ShadowVisitor): void {
    this.visitBuckets(0, HASH_BUCKETS, types, visitor);
  }

  /** The same in the buckets `from` up to `to`. */
  visitBuckets(from: number, to: number, types: number, visitor: ShadowVisitor): void {
    const { memory, frames, domain } = this.#shadow;
    domain.write(DOMAIN_HASH_WALKING, 1);
    let stop = false;
    for (let bucket = from; bucket < to && !stop; bucket++) {
      let at = mfn(memory.loadGuarded(this.#heads + bucket));
      while (at !== 0 && !stop) {
        const next = frames.hashNext(at);
        const type = frames.type(at);
        if (((types >>> type) & 1) !== 0) stop = visitor.visit(at, type);
        at = next;
      }
    }
    domain.write(DOMAIN_HASH_WALKING, 0);
  }
}
