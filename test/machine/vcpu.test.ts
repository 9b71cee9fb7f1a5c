/** What happens to a vCPU between its operations: flushes, interrupts, parking, halting, the end. */
import { describe, expect, test } from "vitest";
import { Status } from "../../src/machine/exits.ts";
import { PARK_CELL } from "../../src/machine/parking.ts";
import { Counter } from "../../src/memory/counters.ts";
import { Doorbell, VcpuCell, VcpuState } from "../../src/memory/vcpu-area.ts";
import { ring } from "../../src/memory/wait.ts";
import { BareVcpu } from "./bare-vcpu.ts";

const PAGE = 0x1234_5000n;
const FRAME = 40;

/** Two vCPUs of one memory, with a page mapped for both. */
function pair(): [BareVcpu, BareVcpu] {
  const first = new BareVcpu(0);
  first.map(PAGE, FRAME);
  return [first, new BareVcpu(1, {}, first.memory)];
}

function stateOf(bare: BareVcpu): number {
  return bare.memory.loadWord(bare.vcpu.area + VcpuCell.state);
}

function isCached(bare: BareVcpu): boolean {
  return bare.vcpu.tlb.find(Number(PAGE), 0) >= 0;
}

describe("a flush", () => {
  test("is asked, served and acknowledged in three steps", () => {
    const [first, second] = pair();
    second.load(PAGE);
    const steps: string[] = [];
    first.meanwhile = (): void => {
      steps.push(isCached(second) ? "asked" : "served");
      second.vcpu.poll();
    };
    first.vcpu.mailbox.flushAll();
    steps.push("acknowledged");
    expect([steps, isCached(second)]).toEqual([["asked", "acknowledged"], false]);
    expect([first, second].map(({ vcpu }) => vcpu.counters.value(Counter.flushes_served))).toEqual([0, 1]);
  });

  test("is served before the next operation uses a translation", () => {
    const [first, second] = pair();
    second.load(PAGE);
    ring(first.memory, second.vcpu.area, Doorbell.flush);
    second.map(PAGE, FRAME + 1);
    second.load(PAGE);
    expect(second.vcpu.frame).toBe(FRAME + 1);
  });

  test("of two who ask each other ends", () => {
    const [first, second] = pair();
    let isAsking = false;
    second.meanwhile = (): void => first.vcpu.mailbox.serve();
    // The first waits for the second, which asks the first before it answers.
    first.meanwhile = (): void => {
      if (!isAsking) {
        isAsking = true;
        second.vcpu.mailbox.flushAll();
      }
      second.vcpu.mailbox.serve();
    };
    first.vcpu.mailbox.flushAll();
    expect([first, second].map(({ vcpu }) => vcpu.counters.value(Counter.flushes_served))).toEqual([1, 1]);
  });

  test.each([VcpuState.off, VcpuState.halted, VcpuState.parked, VcpuState.ended])(
    "does not wait for a vCPU in state %i, and that one's TLB is empty before it runs again",
    (state) => {
      const [first, second] = pair();
      second.load(PAGE);
      second.vcpu.mailbox.setState(state);
      first.meanwhile = (): never => {
        throw new Error("there is nobody to wait for");
      };
      expect(first.vcpu.mailbox.flushWhere(0, false)).toBe(1);
      second.vcpu.mailbox.setState(VcpuState.running);
      expect(isCached(second)).toBe(false);
    },
  );

  test("that was asked just before its target left is acknowledged by its leaving", () => {
    const [first, second] = pair();
    first.meanwhile = (): void => second.vcpu.mailbox.setState(VcpuState.halted);
    first.vcpu.mailbox.flushAll();
    expect(stateOf(second)).toBe(VcpuState.halted);
  });

  test("ticks the clock, and stamps whoever flushes with the tick", () => {
    const [first, second] = pair();
    const { mailbox } = first.vcpu;
    const before = mailbox.time();
    second.vcpu.mailbox.flushLocal();
    mailbox.flushLocal();
    expect(mailbox.time()).toBe(before + 2);
    expect([first, second].map(({ vcpu }) => vcpu.register(VcpuCell.tlbStamp))).toEqual([
      before + 2,
      before + 1,
    ]);
  });
});

describe("an interrupt", () => {
  test("is taken between operations, with all vectors that are pending", () => {
    const [first, second] = pair();
    const taken: number[] = [];
    second.vcpu.interruptHandler = { interrupt: (vectors): void => void taken.push(vectors) };
    first.vcpu.sendInterrupt(second.vcpu.area, 3);
    first.vcpu.sendInterrupt(second.vcpu.area, 5);
    second.load(PAGE);
    second.load(PAGE);
    expect([taken, second.vcpu.counters.value(Counter.interrupts)]).toEqual([[(1 << 3) | (1 << 5)], 1]);
  });

  test("stays pending while it is masked, also by its own handler", () => {
    const [first, second] = pair();
    const taken: number[] = [];
    first.vcpu.sendInterrupt(second.vcpu.area, 1);
    second.load(PAGE);
    second.vcpu.interruptHandler = {
      interrupt: (vectors): void => {
        taken.push(vectors);
        if (taken.length === 1) first.vcpu.sendInterrupt(second.vcpu.area, 2);
        second.load(PAGE);
      },
    };
    second.vcpu.poll();
    expect(taken).toEqual([2]);
    second.vcpu.poll();
    expect(taken).toEqual([2, 4]);
  });

  test("does not disturb the operation that it interrupts", () => {
    const [first, second] = pair();
    second.map(PAGE + 0x1000n, FRAME + 1);
    second.store(PAGE + 0x1000n, 9n);
    second.vcpu.interruptHandler = {
      interrupt: (): void => {
        second.exchange(PAGE + 0x1000n, 9n, 8n);
      },
    };
    first.vcpu.sendInterrupt(second.vcpu.area, 1);
    expect(second.store(PAGE, 0x77n, 1)).toBe(Status.done);
    expect(second.memory.loadWord(FRAME << 10)).toBe(0x77);
    expect(second.memory.loadWord((FRAME + 1) << 10)).toBe(8);
  });
});

describe("HLT", () => {
  test("lasts until an interrupt comes, serves flushes meanwhile, and comes back with an empty TLB", () => {
    const [first, second] = pair();
    second.load(PAGE);
    const states: number[] = [];
    second.meanwhile = (): void => {
      states.push(stateOf(second));
      ring(first.memory, second.vcpu.area, states.length < 3 ? Doorbell.flush : Doorbell.interrupt);
    };
    second.vcpu.interruptHandler = { interrupt: (): void => undefined };
    expect(second.vcpu.halt()).toBe(Status.done);
    expect(states).toEqual(Array<number>(3).fill(VcpuState.halted));
    expect([stateOf(second), isCached(second)]).toEqual([VcpuState.running, false]);
  });

  test("ends when the machine stops", () => {
    const [first, second] = pair();
    second.meanwhile = (): void => ring(first.memory, second.vcpu.area, Doorbell.stop);
    expect(second.vcpu.halt()).toBe(Status.stopped);
    expect(second.vcpu.halt()).toBe(Status.stopped);
  });
});

describe("parking", () => {
  test("holds a vCPU between operations until it is let go, and its TLB counts as it is", () => {
    const [first, second] = pair();
    second.load(PAGE);
    const park = first.layout.regions.control.offset + PARK_CELL;
    first.memory.storeWord(park, 1);
    ring(first.memory, second.vcpu.area, Doorbell.park);
    let seen = false;
    second.meanwhile = (): void => {
      seen = stateOf(second) === VcpuState.parked && isCached(second);
      first.memory.storeWord(park, 0);
    };
    expect(second.load(PAGE)).toBe(Status.done);
    expect([seen, stateOf(second)]).toEqual([true, VcpuState.running]);
    expect(first.memory.loadWord(second.vcpu.area + VcpuCell.doorbell)).toBe(0);
  });

  test("of a vCPU in HLT leaves it asleep", () => {
    const [first, second] = pair();
    const park = first.layout.regions.control.offset + PARK_CELL;
    first.memory.storeWord(park, 1);
    ring(first.memory, second.vcpu.area, Doorbell.park);
    const states: number[] = [];
    second.meanwhile = (): void => {
      states.push(stateOf(second));
      if (first.memory.loadWord(park) === 1) first.memory.storeWord(park, 0);
      else if (states.length > 3) ring(first.memory, second.vcpu.area, Doorbell.stop);
    };
    expect(second.vcpu.halt()).toBe(Status.stopped);
    expect(states[0]).toBe(VcpuState.parked);
    expect(states.at(-1)).toBe(VcpuState.halted);
  });
});

test("a vCPU that is to stop does nothing any more", () => {
  const [first, second] = pair();
  ring(first.memory, second.vcpu.area, Doorbell.stop);
  const { vcpu } = second;
  const answers = [
    second.load(PAGE),
    second.store(PAGE, 1n),
    vcpu.writeCr0(1),
    vcpu.writeCr3(1, 0),
    vcpu.writeCr4(1),
  ];
  answers.push(vcpu.writeEfer(1), vcpu.invlpg(0, 0), vcpu.hypercall(1, 0, 0));
  expect(new Set(answers)).toEqual(new Set([Status.stopped]));
  expect(first.memory.loadWord(FRAME << 10)).toBe(0);
});

test("a vCPU without a hypervisor says so", () => {
  const [first] = pair();
  first.vcpu.exits = null;
  expect(() => first.load(0x7000_0000n)).toThrow(new Error("vCPU 0 runs without a hypervisor"));
});

test("findings are kept, but not without end", () => {
  const [first] = pair();
  for (let time = 0; time < 1000; time++) first.vcpu.reportViolation("check", `finding ${String(time)}`);
  expect(first.vcpu.findings).toHaveLength(100);
  expect(first.vcpu.findings[0]).toEqual({ check: "check", vcpu: 0, message: "finding 0" });
});

test("the watchdog sees that operations go on", () => {
  const [first] = pair();
  const before = first.vcpu.register(VcpuCell.heartbeat);
  first.load(PAGE);
  first.vcpu.invlpg(0, 0);
  expect([first.vcpu.register(VcpuCell.heartbeat) - before, first.vcpu.operations]).toEqual([2, 2]);
});
