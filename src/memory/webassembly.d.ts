/**
 * The part of the WebAssembly JavaScript interface that Umbra uses. Node has it, but neither lib `esnext` nor
 * @types/node declares it, and lib `webworker` would declare a browser with it.
 */
declare namespace WebAssembly {
  interface MemoryDescriptor {
    readonly initial: number;
    readonly maximum?: number;
    readonly shared?: boolean;
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor);
    readonly buffer: SharedArrayBuffer;
  }
  // oxlint-disable-next-line typescript/no-extraneous-class -- a compiled module has nothing but its constructor
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
  }
  class Instance {
    constructor(module: Module, imports: Readonly<Record<string, Readonly<Record<string, Memory>>>>);
    readonly exports: Readonly<Record<string, unknown>>;
  }
}
