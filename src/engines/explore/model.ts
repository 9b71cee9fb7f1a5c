/** What the explorer takes of the model: the one module that it loads as coroutines. */
export { Cpu } from "../../guest/cpu.ts";
export { runProgram } from "../../guest/run-program.ts";
export { Machine } from "../../hypervisor/machine.ts";
export { SharedMemory } from "../../memory/shared-memory.ts";
