/**
 * Holds a whole trace against its format before anything runs: who replays it afterwards need not doubt a field. What is
 * wrong is a value that names the record, the field and the reason.
 */
import { addressOf } from "./address.ts";
import { TraceCursor } from "./cursor.ts";
import { RECORD_BYTES, RECORD_NAMES, RecordType, TRACE_VERSION } from "./record.ts";

const TABLE_BYTES = 4096;
/** Most memory that a recorded machine may have: its frames must fit into one shared memory beside their shadows. */
const RAM_BYTES_MAX = 2 ** 31;
/** Most CPUs that a recorded machine may have: each becomes a thread. */
const CPUS_MAX = 32;
/** Words by which anything wrong in the address of a RAM page shows. */
const PAGE_MASK = TABLE_BYTES - 1;

/** What a trace is of. */
export interface TraceHeader {
  readonly ramBytes: number;
  readonly cpus: number;
  /** Records, START and END included. */
  readonly records: number;
}

/** Why something is not a trace. */
export interface TraceProblem {
  /** Number of the record, from 0. */
  readonly record: number;
  /** The field that is wrong, "" when there is not even a whole record. */
  readonly field: string;
  readonly reason: string;
}

/** Whether a check found a problem. */
export function isProblem(outcome: TraceHeader | TraceProblem): outcome is TraceProblem {
  return "reason" in outcome;
}

/** A problem in words, to stand behind the name of the file. */
export function problemText({ record, field, reason }: TraceProblem): string {
  return field === "" ? `record ${record}: ${reason}` : `record ${record}: field "${field}" ${reason}`;
}

/** Checks every record of a trace of so many bytes. The words may leave out bytes that do not make a whole word. */
export function checkTrace(words: Int32Array, bytes: number): TraceHeader | TraceProblem {
  return new TraceCheck(words, bytes).run();
}

class TraceCheck {
  readonly #cursor: TraceCursor;
  readonly #words: number;
  readonly #bytes: number;
  #ramBytes = 0;
  #cpus = 0;

  constructor(words: Int32Array, bytes: number) {
    this.#cursor = new TraceCursor(words);
    this.#words = words.length;
    this.#bytes = bytes;
  }

  run(): TraceHeader | TraceProblem {
    const cursor = this.#cursor;
    while (cursor.next()) {
      const problem = cursor.index === 0 ? this.#checkStart() : this.#checkRecord();
      if (problem !== undefined) return problem;
      if (cursor.type === RecordType.end) return this.#finish();
    }
    if (cursor.index < 0) return { record: 0, field: "", reason: this.#cutShort(0) };
    const at = cursor.nextOffset * 4;
    const isWhole = at === this.#bytes;
    const reason = isWhole ? "the trace ends without an END record" : this.#cutShort(at);
    return { record: cursor.index + 1, field: "", reason };
  }

  #cutShort(at: number): string {
    return `the trace ends after ${this.#bytes - at} of the record's ${RECORD_BYTES} bytes`;
  }

  #finish(): TraceHeader | TraceProblem {
    const { index, nextOffset } = this.#cursor;
    const surplus = this.#bytes - nextOffset * 4;
    if (surplus !== 0) return { record: index, field: "", reason: `${surplus} bytes follow the END record` };
    return { ramBytes: this.#ramBytes, cpus: this.#cpus, records: index + 1 };
  }

  #checkStart(): TraceProblem | undefined {
    const { type, cpu, a, c, xLow, xHigh, yLow, yHigh } = this.#cursor;
    if (type !== RecordType.start) {
      return this.#problem(
        "type",
        `is ${typeText(type)}, but a trace begins with START (${RecordType.start})`,
      );
    }
    if (a !== TRACE_VERSION) {
      return this.#problem("a", `(version) is ${a}; the version understood here is ${TRACE_VERSION}`);
    }
    if (c !== RECORD_BYTES) return this.#problem("c", `(record size) is ${c}, not ${RECORD_BYTES}`);
    this.#ramBytes = addressOf(xLow, xHigh);
    if (this.#ramBytes === 0 || this.#ramBytes % TABLE_BYTES !== 0) {
      return this.#problem("x", `(bytes of RAM) is ${this.#ramBytes}, not a multiple of ${TABLE_BYTES}`);
    }
    if (this.#ramBytes > RAM_BYTES_MAX) {
      return this.#problem(
        "x",
        `(bytes of RAM) is ${this.#ramBytes}; at most ${RAM_BYTES_MAX} can be replayed`,
      );
    }
    this.#cpus = addressOf(yLow, yHigh);
    if (this.#cpus < 1 || this.#cpus > CPUS_MAX) {
      return this.#problem("y", `(CPUs) is ${this.#cpus}, not from 1 to ${CPUS_MAX}`);
    }
    return cpu < this.#cpus ? undefined : this.#strayCpu();
  }

  #checkRecord(): TraceProblem | undefined {
    const { type, cpu } = this.#cursor;
    if (type === RecordType.start) return this.#problem("type", "is START, which only the first record is");
    if (type < RecordType.start || type > RecordType.end) {
      return this.#problem("type", `is ${type}, which no record has`);
    }
    return cpu < this.#cpus ? this.#checkFields() : this.#strayCpu();
  }

  #strayCpu(): TraceProblem {
    return this.#problem("cpu", `is ${this.#cursor.cpu}, but the trace is of ${this.#cpus} CPUs`);
  }

  #checkFields(): TraceProblem | undefined {
    switch (this.#cursor.type) {
      case RecordType.cr:
        return this.#checkCr();
      case RecordType.efer:
        return this.#atMost("b", this.#cursor.b, 1) ?? this.#atMost("a", this.#cursor.a, 3);
      case RecordType.pf:
        return this.#atMost("b", this.#cursor.b, 1) ?? this.#atMost("a", this.#cursor.a, 3);
      case RecordType.fill:
        return this.#checkFill();
      case RecordType.ad:
        return this.#checkAd();
      case RecordType.ptw:
        return this.#checkPtw();
      case RecordType.ptpage:
        return this.#checkPtpage();
      case RecordType.unpt:
        return this.#checkPage();
      case RecordType.end:
        return this.#checkEnd();
      default:
        return undefined;
    }
  }

  #checkCr(): TraceProblem | undefined {
    const { a, b } = this.#cursor;
    if (a > 4 || a === 1) return this.#problem("a", `(control register) is ${a}, not 0, 2, 3 or 4`);
    if (a === 2 && b !== 1)
      return this.#problem("a", "(control register) is 2 in a record that is not a state");
    return this.#atMost("b", b, 1);
  }

  #checkFill(): TraceProblem | undefined {
    const { a, b, c } = this.#cursor;
    const shift = c >>> 8;
    if (shift !== 12 && shift !== 21 && shift !== 22 && shift !== 30) {
      return this.#problem("c", `(log2 of the page size, bits 8 and up) is ${shift}, not 12, 21, 22 or 30`);
    }
    if ((c & 0xf8) !== 0) return this.#problem("c", `(rights, bits 0 to 7) is ${c & 0xff}, not from 0 to 7`);
    return this.#atMost("a", a, 2) ?? this.#atMost("b", b, 15);
  }

  #checkAd(): TraceProblem | undefined {
    const { a, b, c, xLow } = this.#cursor;
    if (b !== 4 && b !== 8) return this.#problem("b", `(entry size) is ${b}, not 4 or 8`);
    if ((xLow & (b - 1)) !== 0) return this.#problem("x", `is not a multiple of the entry size ${b}`);
    if (c === 0 || (c & ~0x60) !== 0) return this.#problem("c", `(bits set) is ${c}, not A, D or both`);
    if (a < 1 || a > 4) return this.#problem("a", `(level) is ${a}, not from 1 to 4`);
    return this.#inRam(b);
  }

  #checkPtw(): TraceProblem | undefined {
    const { a } = this.#cursor;
    if (a !== 1 && a !== 2 && a !== 4 && a !== 8) {
      return this.#problem("a", `(bytes stored) is ${a}, not 1, 2, 4 or 8`);
    }
    return this.#inRam(1);
  }

  #checkPtpage(): TraceProblem | undefined {
    const { a, c, index, payload } = this.#cursor;
    if (c !== TABLE_BYTES) return this.#problem("c", `(bytes that follow) is ${c}, not ${TABLE_BYTES}`);
    if (a < 1 || a > 4) return this.#problem("a", `(level) is ${a}, not from 1 to 4`);
    if (payload + TABLE_BYTES / 4 > this.#words) {
      const present = this.#bytes - payload * 4;
      return {
        record: index,
        field: "",
        reason: `the trace ends after ${present} of the page's ${TABLE_BYTES} bytes`,
      };
    }
    return this.#checkPage();
  }

  #checkPage(): TraceProblem | undefined {
    if ((this.#cursor.xLow & PAGE_MASK) !== 0) return this.#problem("x", "is not the address of a page");
    return this.#inRam(TABLE_BYTES);
  }

  #checkEnd(): TraceProblem | undefined {
    const { index, xLow, xHigh } = this.#cursor;
    const counted = addressOf(xLow, xHigh);
    return counted === index
      ? undefined
      : this.#problem("x", `says ${counted} records, but ${index} precede it`);
  }

  #inRam(bytes: number): TraceProblem | undefined {
    const { xLow, xHigh } = this.#cursor;
    if (addressOf(xLow, xHigh) + bytes <= this.#ramBytes) return undefined;
    const address = addressOf(xLow, xHigh).toString(16);
    return this.#problem("x", `is 0x${address}, beyond the ${this.#ramBytes} bytes of RAM`);
  }

  #atMost(field: string, value: number, most: number): TraceProblem | undefined {
    return value <= most ? undefined : this.#problem(field, `is ${value}, not from 0 to ${most}`);
  }

  #problem(field: string, reason: string): TraceProblem {
    return { record: this.#cursor.index, field, reason };
  }
}

function typeText(type: number): string {
  const name = RECORD_NAMES[type] ?? "";
  return name === "" ? String(type) : `${name} (${type})`;
}
