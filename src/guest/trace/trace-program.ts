/**
 * A recorded CPU as a guest program: goes through the trace and does, in its turn, what its records say. Whether what
 * comes of it agrees with the recording is for the judge that the engine supplies.
 */
import { FaultCode } from "../../machine/fault-code.ts";
import { Status } from "../../machine/exits.ts";
import type { Vcpu } from "../../machine/vcpu.ts";
import { VcpuCell } from "../../memory/vcpu-area.ts";
import { addressOf } from "./address.ts";
import { TraceCursor } from "./cursor.ts";
import { DirectMap } from "./direct-map.ts";
import { RecordedState } from "./recorded-state.ts";
import { FillAccess, RESET_CR0, RecordType, cplOfFill, isSmapFill, isUserFill } from "./record.ts";
import type { Turns } from "./turns.ts";

const DONE = Status.done;
const STOPPED = Status.stopped;
const WRITE_ACCESS = FillAccess.write;
const FETCH_ACCESS = FillAccess.fetch;
const TABLE_BYTES = 4096;

/** What a CPU may refuse, in words. */
const CR_WRITE = "the control register write";
const EFER_WRITE = "the write of EFER";
const INVLPG = "INVLPG";
const STATE = "the state that was given before it";

/** What a replay needs of the world outside its vCPU. */
export interface ReplayHost {
  /** The word of guest memory at a guest physical address, a multiple of 4. */
  readWord(address: number): number;
  /** Stores a word as a device does, so that the paging interface is told. */
  deviceWrite(address: number, value: number): void;
  /**
   * Whether the guest's tables let the supervisor write at a linear address, lead to the physical one, and have A and D
   * set already all the way.
   */
  reaches(low: number, high: number, physical: number): boolean;
  /** Whether user mode may write at a linear address. */
  isUserWritable(low: number, high: number): boolean;
}

/** What judges a replay. Records are passed as the cursor that stands at them. */
export interface ReplayJudge {
  /** Every record, of whatever CPU, after it was executed, if it was to be. */
  scanned(record: TraceCursor): void;
  /** The access of a FILL or PF is about to be made. */
  accessing(record: TraceCursor): void;
  /** The access of a FILL or PF has ended; false to have it made again. */
  accessed(record: TraceCursor, status: number): boolean;
  /** The access of a FILL was the store of the PTW behind it, and has ended with that. */
  accessedByStore(record: TraceCursor, status: number): void;
  /** The store of a PTW is about to be made. */
  storing(record: TraceCursor): void;
  /** The store of a PTW has ended. */
  stored(record: TraceCursor, status: number): void;
  /** Something else that the recorded CPU did was refused. */
  refused(record: TraceCursor, what: string): void;
}

/** The program of one vCPU. */
export class TraceProgram {
  readonly #vcpu: Vcpu;
  readonly #cursor: TraceCursor;
  readonly #ahead: TraceCursor;
  /** The FILL that was put off until the store that is its access. */
  readonly #fill: TraceCursor;
  readonly #turns: Turns;
  readonly #host: ReplayHost;
  readonly #judge: ReplayJudge;
  readonly #state: RecordedState;
  readonly #directMap = new DirectMap();
  /** Which CPUs were given a state that they have not taken on yet. */
  readonly #isPending: Uint8Array;
  #pendingCount = 0;
  /** Number of the next ordered operation of all vCPUs. */
  #ordinal = 0;
  #isFillPutOff = false;

  constructor(
    vcpu: Vcpu,
    trace: { readonly words: Int32Array; readonly cpus: number },
    turns: Turns,
    host: ReplayHost,
    judge: ReplayJudge,
  ) {
    this.#vcpu = vcpu;
    this.#cursor = new TraceCursor(trace.words);
    this.#ahead = new TraceCursor(trace.words);
    this.#fill = new TraceCursor(trace.words);
    this.#turns = turns;
    this.#host = host;
    this.#judge = judge;
    this.#state = new RecordedState(vcpu);
    this.#isPending = new Uint8Array(trace.cpus);
  }

  /** Replays the whole trace. False when the machine stopped before its end. */
  run(): boolean {
    const cursor = this.#cursor;
    for (; cursor.next(); this.#judge.scanned(cursor)) {
      if (!this.#pass(cursor)) return false;
    }
    this.#turns.publish();
    return true;
  }

  /** Executes the record if it is this vCPU's. False when the machine stopped. */
  #pass(record: TraceCursor): boolean {
    const { type } = record;
    if (record.isState()) {
      this.#noteState(record);
      return true;
    }
    if (this.#pendingCount !== 0 && type !== RecordType.ptpage && !this.#applyStates()) return false;
    switch (type) {
      case RecordType.cr:
      case RecordType.efer:
      case RecordType.invlpg:
      case RecordType.pf:
      case RecordType.fill:
      case RecordType.ptw:
      case RecordType.ptpage:
        return this.#inTurn(record);
      default:
        return true;
    }
  }

  #inTurn(record: TraceCursor): boolean {
    const turns = this.#turns;
    const ordinal = this.#ordinal;
    const isOrdered = turns.isOrdered(record.type);
    if (isOrdered) this.#ordinal = ordinal + 1;
    if (record.cpu !== this.#vcpu.id) {
      turns.publish();
      return true;
    }
    if (!(isOrdered ? turns.begin(ordinal) : turns.reach(ordinal))) return false;
    const goesOn = this.#execute(record);
    if (isOrdered) turns.end();
    return goesOn;
  }

  #execute(record: TraceCursor): boolean {
    const vcpu = this.#vcpu;
    switch (record.type) {
      case RecordType.fill:
        return this.#executeFill(record);
      case RecordType.pf:
        return this.#executePf(record);
      case RecordType.ptw:
        return this.#executePtw(record);
      case RecordType.ptpage:
        return this.#executePtpage(record);
      case RecordType.cr:
        return this.#accept(record, this.#writeControlRegister(record), CR_WRITE);
      case RecordType.efer:
        return this.#accept(record, vcpu.writeEfer(record.xLow), EFER_WRITE);
      default:
        return this.#accept(record, vcpu.invlpg(record.xLow, record.xHigh), INVLPG);
    }
  }

  #executeFill(record: TraceCursor): boolean {
    if (record.a === WRITE_ACCESS && this.#isStoreNext(record)) {
      this.#fill.moveTo(record);
      this.#isFillPutOff = true;
      return true;
    }
    this.#setFillPrivilege(record);
    return this.#access(record, record.a === WRITE_ACCESS, record.a === FETCH_ACCESS);
  }

  #executePf(record: TraceCursor): boolean {
    const { a, b, c } = record;
    this.#vcpu.setPrivilege(a, b === 1, (c & FaultCode.user) === 0);
    return this.#access(record, (c & FaultCode.write) !== 0, (c & FaultCode.fetch) !== 0);
  }

  /**
   * Makes the access of a FILL or PF, which missed the TLB when it was recorded. A write is the compare-exchange of a
   * byte that leaves it as it was.
   */
  #access(record: TraceCursor, isWrite: boolean, isFetch: boolean): boolean {
    const vcpu = this.#vcpu;
    const { xLow, xHigh } = record;
    for (;;) {
      vcpu.tlb.drop(xLow, xHigh);
      this.#judge.accessing(record);
      let status: number;
      if (isWrite) status = this.#touchByte(xLow, xHigh);
      else if (isFetch) status = vcpu.fetch(xLow, xHigh, 1);
      else status = vcpu.load(xLow, xHigh, 1);
      if (status === STOPPED) return false;
      if (this.#judge.accessed(record, status)) return true;
    }
  }

  /** Compares with 0 and stores 0: memory stays as it is whatever is there. */
  #touchByte(low: number, high: number): number {
    const vcpu = this.#vcpu;
    vcpu.expectedLow = 0;
    vcpu.expectedHigh = 0;
    vcpu.valueLow = 0;
    vcpu.valueHigh = 0;
    return vcpu.compareExchange(low, high, 1);
  }

  #executePtw(record: TraceCursor): boolean {
    const vcpu = this.#vcpu;
    const { a, b, yLow, yHigh, wLow, wHigh } = record;
    const isFillPutOff = this.#isFillPutOff;
    if (isFillPutOff) {
      this.#setFillPrivilege(this.#fill);
      vcpu.tlb.drop(wLow, wHigh);
    } else {
      // SMAP did not forbid the store, so AC was set if it had to be. At CPL 3, what user mode may not write the
      // processor wrote of its own accord.
      const cpl = b & 3;
      vcpu.setPrivilege(cpl, true, cpl < 3 || !this.#host.isUserWritable(wLow, wHigh));
    }
    this.#judge.storing(record);
    const status = vcpu.store(wLow, wHigh, a, yLow, yHigh);
    if (status === STOPPED) return false;
    this.#judge.stored(record, status);
    if (isFillPutOff) {
      this.#isFillPutOff = false;
      this.#judge.accessedByStore(this.#fill, status);
    }
    return true;
  }

  #setFillPrivilege(fill: TraceCursor): void {
    const { b } = fill;
    this.#vcpu.setPrivilege(cplOfFill(b), !isSmapFill(b), !isUserFill(b));
  }

  /** Whether this CPU's next record is a store at the address of the FILL: then that store was the access. */
  #isStoreNext(fill: TraceCursor): boolean {
    const ahead = this.#ahead;
    ahead.moveTo(fill);
    while (ahead.next()) {
      if (ahead.type === RecordType.end) return false;
      if (ahead.cpu !== fill.cpu) continue;
      return ahead.type === RecordType.ptw && ahead.wLow === fill.xLow && ahead.wHigh === fill.xHigh;
    }
    return false;
  }

  /** Brings a page to what it holds now: its words were stored before anybody knew that it is a table. */
  #executePtpage(record: TraceCursor): boolean {
    const vcpu = this.#vcpu;
    const host = this.#host;
    const physical = addressOf(record.xLow, record.xHigh);
    const format = vcpu.register(VcpuCell.pagingOn) === 0 ? 0 : vcpu.register(VcpuCell.guestLevels);
    const words = format > 2 ? 2 : 1;
    let hasPrivilege = false;
    for (let word = 0; word < TABLE_BYTES / 4; word += words) {
      const at = physical + word * 4;
      const isSame =
        host.readWord(at) === record.payloadWord(word) &&
        (words === 1 || host.readWord(at + 4) === record.payloadWord(word + 1));
      if (isSame) continue;
      if (!hasPrivilege) {
        vcpu.setPrivilege(0, true, true);
        hasPrivilege = true;
      }
      if (!this.#bring(record, format, at, word, words)) return false;
    }
    return true;
  }

  /** Stores one entry through the 1–1 map, or as a device where no 1–1 map reaches. */
  #bring(record: TraceCursor, format: number, at: number, word: number, words: number): boolean {
    const directMap = this.#directMap;
    const valueLow = record.payloadWord(word);
    const valueHigh = words === 2 ? record.payloadWord(word + 1) : 0;
    if (directMap.locate(format, at) && this.#host.reaches(directMap.low, directMap.high, at)) {
      const status = this.#vcpu.store(directMap.low, directMap.high, words * 4, valueLow, valueHigh);
      if (status === DONE) return true;
      if (status === STOPPED) return false;
      this.#judge.refused(record, `the store at its offset ${word * 4} through the 1-1 map`);
    }
    this.#host.deviceWrite(at, valueLow);
    if (words === 2) this.#host.deviceWrite(at + 4, valueHigh);
    return true;
  }

  #writeControlRegister(record: TraceCursor): number {
    const vcpu = this.#vcpu;
    const { a, xLow, xHigh } = record;
    if (a === 3) return vcpu.writeCr3(xLow, xHigh);
    if (a === 4) return vcpu.writeCr4(xLow);
    const status = vcpu.writeCr0(xLow);
    return status === DONE && xLow === RESET_CR0 ? this.#finishReset() : status;
  }

  /** INIT and reset clear these, which has no records of its own. */
  #finishReset(): number {
    const vcpu = this.#vcpu;
    let status: number = DONE;
    if (vcpu.register(VcpuCell.cr4) !== 0) status = vcpu.writeCr4(0);
    if (status === DONE && vcpu.register(VcpuCell.efer) !== 0) status = vcpu.writeEfer(0);
    if (status === DONE && (vcpu.register(VcpuCell.cr3Low) | vcpu.register(VcpuCell.cr3High)) !== 0) {
      status = vcpu.writeCr3(0, 0);
    }
    return status;
  }

  #accept(record: TraceCursor, status: number, what: string): boolean {
    if (status === STOPPED) return false;
    if (status !== DONE) this.#judge.refused(record, what);
    return true;
  }

  #noteState(record: TraceCursor): void {
    const { cpu } = record;
    if (this.#isPending[cpu] === 0) {
      this.#isPending[cpu] = 1;
      this.#pendingCount++;
    }
    if (cpu === this.#vcpu.id) this.#state.note(record);
  }

  /** Every CPU that was given a state takes it on, one after the other. */
  #applyStates(): boolean {
    this.#pendingCount = 0;
    for (let cpu = 0; cpu < this.#isPending.length; cpu++) {
      if (this.#isPending[cpu] === 0) continue;
      this.#isPending[cpu] = 0;
      const ordinal = this.#ordinal;
      this.#ordinal = ordinal + 1;
      if (cpu !== this.#vcpu.id) {
        this.#turns.publish();
        continue;
      }
      if (!this.#turns.begin(ordinal)) return false;
      const goesOn = this.#accept(this.#cursor, this.#state.applyNext(), STATE);
      this.#turns.end();
      if (!goesOn) return false;
    }
    return true;
  }
}
