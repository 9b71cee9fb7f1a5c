/** Traces made by hand, record by record, for tests. Keeps the tables' contents, to say what a store overwrites. */
import { gzipSync } from "node:zlib";
import { RECORD_BYTES, RecordType, TRACE_VERSION } from "../../../src/guest/trace/record.ts";

/** Fields of a record. Those not given are 0. */
export interface Fields {
  readonly type: number;
  readonly cpu?: number;
  readonly a?: number;
  readonly b?: number;
  readonly c?: number;
  readonly x?: number | bigint;
  readonly y?: number | bigint;
  readonly z?: number | bigint;
  readonly w?: number | bigint;
}

/** A record's bytes. */
export function recordBytes({
  type,
  cpu = 0,
  a = 0,
  b = 0,
  c = 0,
  x = 0,
  y = 0,
  z = 0,
  w = 0,
}: Fields): Buffer {
  const bytes = Buffer.alloc(RECORD_BYTES);
  bytes.set([type, cpu, a, b]);
  bytes.writeUInt32LE(c, 4);
  for (const [index, value] of [x, y, z, w].entries()) {
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), 8 + index * 8);
  }
  return bytes;
}

/** Registers of a CPU's state records. */
export interface State {
  readonly cr0: number;
  readonly cr3?: number;
  readonly cr4?: number;
  readonly efer?: number;
  readonly cpl?: number;
}

/** An access that a FILL tells of. */
export interface Fill {
  readonly linear: number | bigint;
  readonly physical: number | bigint;
  readonly access?: "read" | "write" | "fetch";
  readonly user?: boolean;
  readonly smap?: boolean;
  readonly cpl?: number;
  readonly rights?: number;
  readonly shift?: number;
}

/** A store that a PTW tells of. */
export interface Store {
  readonly physical: number;
  readonly linear: number | bigint;
  readonly size: 1 | 2 | 4 | 8;
  readonly value: number | bigint;
  readonly cpl?: number;
  /** Where the store goes on when it crosses into another page. */
  readonly nextPage?: number;
}

const PAGE = 4096;
const ACCESSES = { read: 0, write: 1, fetch: 2 } as const;

/** Appends records. Methods return the builder. */
export class TraceBuilder {
  readonly ramBytes: number;
  readonly #parts: Buffer[] = [];
  readonly #memory = new Map<number, number>();
  #records = 0;

  constructor(ramBytes: number, cpus = 1) {
    this.ramBytes = ramBytes;
    this.record({ type: RecordType.start, a: TRACE_VERSION, c: RECORD_BYTES, x: ramBytes, y: cpus });
  }

  record(fields: Fields, payload = Buffer.alloc(0)): this {
    this.#parts.push(recordBytes(fields), payload);
    this.#records++;
    return this;
  }

  state(cpu: number, { cr0, cr3 = 0, cr4 = 0, efer = 0, cpl = 0 }: State): this {
    for (const [a, value] of [
      [0, cr0],
      [2, 0],
      [3, cr3],
      [4, cr4],
    ] as const) {
      this.record({ type: RecordType.cr, cpu, a, b: 1, x: value, y: value });
    }
    return this.record({ type: RecordType.efer, cpu, a: cpl, b: 1, x: efer, y: efer });
  }

  cr(register: 0 | 3 | 4, value: number, cpu = 0): this {
    return this.record({ type: RecordType.cr, cpu, a: register, x: value >>> 0 });
  }

  efer(value: number, cpu = 0): this {
    return this.record({ type: RecordType.efer, cpu, x: value });
  }

  invlpg(linear: number | bigint, cpu = 0): this {
    return this.record({ type: RecordType.invlpg, cpu, x: linear });
  }

  /** A table's page; entries by index, of 4 or 8 bytes. All others are 0. */
  page(
    physical: number,
    level: number,
    size: 4 | 8,
    entries: Readonly<Record<number, number | bigint>>,
    cpu = 0,
  ): this {
    const payload = Buffer.alloc(PAGE);
    for (const [index, entry] of Object.entries(entries)) {
      if (size === 4) payload.writeUInt32LE(Number(entry), Number(index) * 4);
      else payload.writeBigUInt64LE(BigInt(entry), Number(index) * 8);
    }
    for (const [offset, byte] of payload.entries()) this.#memory.set(physical + offset, byte);
    return this.record({ type: RecordType.ptpage, cpu, a: level, c: PAGE, x: physical }, payload);
  }

  walk(
    {
      linear,
      physical,
      access = "read",
      user = false,
      smap = false,
      cpl = user ? 3 : 0,
      rights = 7,
      shift = 12,
    }: Fill,
    cpu = 0,
  ): this {
    const b = (user ? 1 : 0) | (smap ? 2 : 0) | (cpl << 2);
    const c = rights | (shift << 8);
    return this.record({ type: RecordType.fill, cpu, a: ACCESSES[access], b, c, x: linear, y: physical });
  }

  fault(linear: number | bigint, code: number, { cpl = 0, ac = false, cpu = 0 } = {}): this {
    return this.record({ type: RecordType.pf, cpu, a: cpl, b: ac ? 1 : 0, c: code, x: linear });
  }

  /** A or D set by a walk. */
  ad(physical: number, level: number, size: 4 | 8, bits: number, cpu = 0): this {
    const before = this.#value(physical, size, undefined);
    const after = before | BigInt(bits);
    this.#set(physical, size, after, undefined);
    return this.record({
      type: RecordType.ad,
      cpu,
      a: level,
      b: size,
      c: bits,
      x: physical,
      y: before,
      z: after,
    });
  }

  store({ physical, linear, size, value, cpl = 0, nextPage }: Store, cpu = 0): this {
    const before = this.#value(physical, size, nextPage);
    const stored = BigInt.asUintN(size * 8, BigInt(value));
    this.#set(physical, size, stored, nextPage);
    return this.record({
      type: RecordType.ptw,
      cpu,
      a: size,
      b: cpl,
      x: physical,
      y: stored,
      z: before,
      w: linear,
    });
  }

  unpt(physical: number, cpu = 0): this {
    return this.record({ type: RecordType.unpt, cpu, a: 5, b: 1, x: physical });
  }

  /** The trace with its END, unpacked. */
  bytes(): Buffer {
    return Buffer.concat([...this.#parts, recordBytes({ type: RecordType.end, x: this.#records })]);
  }

  /** The trace as a file holds it. */
  packed(): Buffer {
    return gzipSync(this.bytes());
  }

  #value(physical: number, size: number, nextPage: number | undefined): bigint {
    let value = 0n;
    for (const [index, at] of placesOf(physical, size, nextPage).entries()) {
      value |= BigInt(this.#memory.get(at) ?? 0) << BigInt(index * 8);
    }
    return value;
  }

  #set(physical: number, size: number, value: bigint, nextPage: number | undefined): void {
    for (const [index, at] of placesOf(physical, size, nextPage).entries()) {
      this.#memory.set(at, Number((value >> BigInt(index * 8)) & 0xffn));
    }
  }
}

function placesOf(physical: number, size: number, nextPage: number | undefined): number[] {
  return Array.from({ length: size }, (_, index) => {
    const at = physical + index;
    const isNext = nextPage !== undefined && Math.floor(at / PAGE) !== Math.floor(physical / PAGE);
    return isNext ? nextPage + (at % PAGE) : at;
  });
}
