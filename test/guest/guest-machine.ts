/** A real machine whose vCPU 0 runs a guest on this thread. Its other vCPUs are off. */
import { Cpu } from "../../src/guest/cpu.ts";
import type { KernelImage } from "../../src/guest/kernel/image.ts";
import { Kernel } from "../../src/guest/kernel/kernel.ts";
import type { KernelWish } from "../../src/guest/kernel-builder.ts";
import { Loader } from "../../src/guest/loader.ts";
import type { GuestRam } from "../../src/guest/ports.ts";
import type { GuestFormat } from "../../src/guest/scenario.ts";
import { Machine } from "../../src/hypervisor/machine.ts";
import type { HostedVcpu } from "../../src/hypervisor/machine.ts";
import { machineConfig } from "../../src/hypervisor/machine-config.ts";
import type { MachineConfig } from "../../src/hypervisor/machine-config.ts";
import { vcpuId } from "../../src/memory/units.ts";

/** A clock that says how often it was asked. */
export class CountingClock {
  #now = 0;

  now(): number {
    return ++this.#now;
  }
}

export interface GuestSetup {
  readonly format: GuestFormat;
  readonly vcpus?: number;
  readonly seed?: number;
  readonly operationsMax?: number;
  readonly config?: Partial<MachineConfig>;
}

/** The machine, its memory and its vCPU 0, with paging off. */
export class GuestMachine {
  readonly machine: Machine;
  readonly ram: GuestRam;
  readonly loader: Loader;
  readonly hosted: HostedVcpu;
  readonly cpu: Cpu;
  isOver = false;

  constructor({ format, vcpus = 1, seed = 1, operationsMax = 0, config = {} }: GuestSetup) {
    const clock = new CountingClock();
    this.machine = Machine.create(machineConfig({ vcpus, ramPages: 1024, ...config }), clock);
    this.ram = this.machine.guestRam();
    this.loader = new Loader({ ram: this.ram, format, vcpus });
    this.hosted = this.machine.createVcpu(vcpuId(0), clock);
    this.hosted.vcpu.start();
    const limits = { isOver: (): boolean => this.isOver };
    this.cpu = new Cpu({ vcpu: this.hosted.vcpu, vcpus, format, seed, operationsMax, limits });
  }

  /** Boots a kernel and starts it. */
  start(wish: KernelWish): Kernel {
    const image: KernelImage = structuredClone(this.loader.kernel(wish));
    return Kernel.start(this.cpu, image);
  }

  /** What was found to be wrong, as sentences. */
  get findings(): string[] {
    return this.hosted.vcpu.findings.map(({ check, message }) => `${check}: ${message}`);
  }
}
