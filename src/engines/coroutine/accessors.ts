/**
 * The calls that are shared accesses, by method name, and what each does to memory. The rewriter puts a scheduling point
 * before every such call; everything else in a module runs between two points, unseen.
 */

/** What an operation does to the cell that it is pending on. From `wait` on, it may not be possible yet. */
export const AccessKind = {
  read: 0,
  write: 1,
  /** Reads and writes in one: an addition, an exchange. */
  update: 2,
  /** A compare-exchange: an update until it has failed, then a read. */
  exchange: 3,
  /** Writes a run of cells. */
  fill: 4,
  /** A new thread begins to run. */
  spawn: 5,
  unlock: 6,
  /** Gives up a lock and begins to wait for a signal. */
  suspend: 7,
  signal: 8,
  /** A hint that nothing was gained since the last one. */
  yield: 9,
  /** Waits until the cell holds another value, or a flush is asked of the vCPU. */
  wait: 10,
  lock: 11,
  /** Waits for a signal, then for the lock. */
  relock: 12,
  /** Waits for the end of a thread. */
  join: 13,
} as const;

/** The first kind that may have to wait. */
export const FIRST_BLOCKING: number = AccessKind.wait;

/** How the accessors of a room are guarded, which the race detector asks. */
export type AccessMode = "atomic" | "guarded" | "sync";

/** One accessor. */
export interface Accessor {
  readonly kind: number;
  /** Cells that an access covers. */
  readonly span: 1 | 2;
  readonly mode: AccessMode;
  /** The first argument is a byte address instead of a cell; or the cell is a field `cell` of what is called. */
  readonly address: "cell" | "byte" | "receiver";
}

function atomic(kind: number, span: 1 | 2 = 1, address: Accessor["address"] = "cell"): Accessor {
  return { kind, span, mode: "atomic", address };
}

function sync(kind: number): Accessor {
  return { kind, span: 1, mode: "sync", address: "receiver" };
}

const { read, write, update, exchange, fill, wait } = AccessKind;

/** All accessors of `src/memory`, and the primitives of programs under test. */
export const ACCESSORS: ReadonlyMap<string, Accessor> = new Map([
  ["loadWord", atomic(read)],
  ["storeWord", atomic(write)],
  ["exchangeWord", atomic(update)],
  ["addWord", atomic(update)],
  ["orWord", atomic(update)],
  ["andWord", atomic(update)],
  ["compareExchangeWord", atomic(exchange)],
  ["loadEntry", atomic(read, 2)],
  ["storeEntry", atomic(write, 2)],
  ["compareExchangeEntry", atomic(exchange, 2)],
  ["loadByte", atomic(read, 1, "byte")],
  ["storeByte", atomic(write, 1, "byte")],
  ["compareExchangeByte", atomic(exchange, 1, "byte")],
  ["loadHalf", atomic(read, 1, "byte")],
  ["storeHalf", atomic(write, 1, "byte")],
  ["compareExchangeHalf", atomic(exchange, 1, "byte")],
  ["loadGuarded", { kind: read, span: 1, mode: "guarded", address: "cell" }],
  ["storeGuarded", { kind: write, span: 1, mode: "guarded", address: "cell" }],
  ["fillWords", { kind: fill, span: 1, mode: "guarded", address: "cell" }],
  ["waitWhile", atomic(wait)],
  ["enterLock", sync(AccessKind.lock)],
  ["leaveLock", sync(AccessKind.unlock)],
  ["suspendOn", sync(AccessKind.suspend)],
  ["resumeFrom", sync(AccessKind.relock)],
  ["signalOne", sync(AccessKind.signal)],
  ["signalAll", sync(AccessKind.signal)],
  ["spawnThread", sync(AccessKind.spawn)],
  ["joinThread", sync(AccessKind.join)],
  ["pauseHere", sync(AccessKind.yield)],
]);
