/**
 * A plain interpreter of instructions as a test describes them, in bigints and without any decoding: results are exact
 * integers that are cut to size, and flags follow from what was cut. Undefined flags are told, not set.
 */

/** An operand: a register of a size, memory at a computed address, or a number. */
export type Operand =
  | { readonly place: "register"; readonly register: number; readonly isHighByte: boolean }
  | { readonly place: "memory"; readonly memory: MemoryForm }
  | { readonly place: "immediate"; readonly value: bigint };

/** How an address is formed. */
export interface MemoryForm {
  readonly base: number | null;
  readonly index: number | null;
  readonly scale: bigint;
  readonly displacement: bigint;
  /** Bits of an address. */
  readonly bits: number;
  /** Whether the displacement counts from the next instruction. */
  readonly isRelative: boolean;
}

export interface Described {
  readonly name: string;
  /** Bytes of the first operand. */
  readonly size: number;
  /** Bytes of the second one, where it is narrower. */
  readonly sourceSize: number;
  readonly operands: readonly Operand[];
  readonly isLocked: boolean;
  readonly isRepeated: boolean;
  /** Of a jump: its condition and distance from the next instruction. */
  readonly condition: number;
  readonly distance: bigint;
}

/** A processor's state, with memory by byte. */
export interface Machine {
  readonly registers: bigint[];
  rip: bigint;
  flags: bigint;
  read(address: bigint): bigint;
  write(address: bigint, byte: bigint): void;
}

const CF = 1n;
const PF = 4n;
const AF = 16n;
const ZF = 64n;
const SF = 128n;
const DF = 1024n;
const OF = 2048n;

/** Flags that no one can predict, by instruction (SDM vol. 2). */
export function undefinedFlags(name: string): bigint {
  if (["and", "or", "xor", "test"].includes(name)) return AF;
  return ["bt", "bts", "btr", "btc"].includes(name) ? OF | SF | AF | PF : 0n;
}

/** Executes an instruction of so many bytes, one iteration if it repeats. */
export function execute(machine: Machine, described: Described, bytes: number, codeBits: number): void {
  new Step(machine, described, bytes, codeBits).run();
}

class Step {
  readonly #at: Machine;
  readonly #it: Described;
  readonly #next: bigint;
  readonly #codeBits: number;

  constructor(machine: Machine, described: Described, bytes: number, codeBits: number) {
    this.#at = machine;
    this.#it = described;
    this.#codeBits = codeBits;
    this.#next = BigInt.asUintN(codeBits, machine.rip + BigInt(bytes));
  }

  run(): void {
    const { name } = this.#it;
    const width = this.#it.size * 8;
    if (name === "stos" || name === "movs") return this.#string();
    if (name === "jump") return this.#jump();
    if (name === "push") return this.#push();
    if (name === "pop") return this.#pop();
    if (name === "mov" || name === "movzx") this.#write(0, this.#read(1));
    else if (name === "movsx")
      this.#write(0, BigInt.asUintN(width, BigInt.asIntN(this.#it.sourceSize * 8, this.#read(1))));
    else if (name === "lea") this.#write(0, BigInt.asUintN(width, this.#address(this.#it.operands[1])));
    else if (name.startsWith("bt")) this.#bit();
    else if (name === "cmpxchg8b") this.#exchange8();
    else if (name === "cmpxchg") this.#compareExchange();
    else if (name === "xchg" || name === "xadd") this.#exchange();
    else if (name !== "nop") this.#arithmetic();
    this.#at.rip = this.#next;
  }

  #arithmetic(): void {
    const { name, size, operands } = this.#it;
    const a = this.#read(0);
    const b = operands.length > 1 ? this.#read(1) : 1n;
    const carry = (this.#at.flags & CF) === 0n ? 0n : 1n;
    const result = this.#compute(name, a, b, carry, size * 8);
    if (name !== "cmp" && name !== "test") this.#write(0, result);
  }

  #compute(name: string, a: bigint, b: bigint, carry: bigint, width: number): bigint {
    switch (name) {
      case "add":
        return this.#sum(a, b, 0n, width, true);
      case "adc":
        return this.#sum(a, b, carry, width, true);
      case "inc":
        return this.#sum(a, 1n, 0n, width, false);
      case "sub":
      case "cmp":
        return this.#sum(a, -b, 0n, width, true);
      case "sbb":
        return this.#sum(a, -b, -carry, width, true);
      case "dec":
        return this.#sum(a, -1n, 0n, width, false);
      case "neg":
        return this.#sum(0n, -a, 0n, width, true);
      case "not":
        return BigInt.asUintN(width, ~a);
      default: {
        const result = name === "or" ? a | b : name === "xor" ? a ^ b : a & b;
        this.#flag(CF | OF, 0n);
        this.#signs(result, width);
        return result;
      }
    }
  }

  /** What is subtracted is added as a negative number: then every flag says what did not fit. */
  #sum(a: bigint, b: bigint, carry: bigint, width: number, setsCarry: boolean): bigint {
    const exact = a + b + carry;
    const result = BigInt.asUintN(width, exact);
    const sign = b < 0n || carry < 0n ? -1n : 1n;
    const signedB = sign * BigInt.asIntN(width, sign * b);
    const signed = BigInt.asIntN(width, a) + signedB + carry;
    const nibble = (a & 15n) + sign * ((sign * b) & 15n) + carry;
    if (setsCarry) this.#flag(CF, exact === result ? 0n : CF);
    this.#flag(OF, signed === BigInt.asIntN(width, signed) ? 0n : OF);
    this.#flag(AF, nibble < 0n || nibble > 15n ? AF : 0n);
    this.#signs(result, width);
    return result;
  }

  #signs(result: bigint, width: number): void {
    let ones = 0;
    for (let bit = 0n; bit < 8n; bit++) ones += Number((result >> bit) & 1n);
    this.#flag(PF, ones % 2 === 0 ? PF : 0n);
    this.#flag(ZF, result === 0n ? ZF : 0n);
    this.#flag(SF, BigInt.asIntN(width, result) < 0n ? SF : 0n);
  }

  #flag(which: bigint, value: bigint): void {
    this.#at.flags = (this.#at.flags & ~which) | value;
  }

  #bit(): void {
    const { name, size, operands } = this.#it;
    const width = BigInt(size * 8);
    const [first, second] = operands;
    const offset = BigInt.asIntN(size * 8, this.#read(1));
    const isString = first?.place === "memory" && second?.place === "register";
    const place = ((offset % width) + width) % width;
    const bits = first?.place === "memory" ? first.memory.bits : 64;
    const address = first?.place === "memory" ? this.#address(first) : 0n;
    const at = isString ? BigInt.asUintN(bits, address + ((offset - place) / width) * BigInt(size)) : address;
    const value = first?.place === "memory" ? this.#load(at, size) : this.#read(0);
    this.#flag(CF, (value >> place) & 1n);
    if (name === "bt") return;
    const one = 1n << place;
    const result = name === "bts" ? value | one : name === "btr" ? value & ~one : value ^ one;
    if (first?.place === "memory") this.#store(at, size, result);
    else this.#write(0, result);
  }

  #exchange(): void {
    const { name, size } = this.#it;
    const a = this.#read(0);
    const b = this.#read(1);
    const result = name === "xadd" ? this.#sum(a, b, 0n, size * 8, true) : b;
    // Of two operands that are the same register the first is written last.
    const first = this.#it.operands[0];
    const address = first?.place === "memory" ? this.#address(first) : 0n;
    if (first?.place === "memory") this.#store(address, size, result);
    if (name === "xchg" && first?.place === "register") this.#write(0, result);
    this.#write(1, a);
    if (name === "xadd" && first?.place === "register") this.#write(0, result);
  }

  #compareExchange(): void {
    const width = this.#it.size * 8;
    const accumulator = BigInt.asUintN(width, this.#at.registers[0] ?? 0n);
    const found = this.#read(0);
    const wanted = this.#read(1);
    this.#sum(accumulator, -found, 0n, width, true);
    this.#write(0, accumulator === found ? wanted : found);
    if (accumulator !== found) this.#assign(0, this.#it.size, false, found);
  }

  #exchange8(): void {
    const [rax = 0n, rcx = 0n, rdx = 0n, rbx = 0n] = this.#at.registers;
    const expected = (half(rdx) << 32n) | half(rax);
    const address = this.#address(this.#it.operands[0]);
    const found = this.#load(address, 8);
    this.#flag(ZF, found === expected ? ZF : 0n);
    this.#store(address, 8, found === expected ? (half(rcx) << 32n) | half(rbx) : found);
    if (found === expected) return;
    this.#assign(0, 4, false, half(found));
    this.#assign(2, 4, false, found >> 32n);
  }

  #string(): void {
    const { name, size, isRepeated, operands } = this.#it;
    const bits = operands[0]?.place === "memory" ? operands[0].memory.bits : 64;
    const value = (register: number): bigint => BigInt.asUintN(bits, this.#at.registers[register] ?? 0n);
    const move = (register: number, by: bigint): void =>
      this.#assign(register, bits / 8, false, BigInt.asUintN(bits, value(register) + by));
    if (isRepeated && value(1) === 0n) {
      this.#at.rip = this.#next;
      return;
    }
    const source =
      name === "movs" ? this.#load(value(6), size) : BigInt.asUintN(size * 8, this.#at.registers[0] ?? 0n);
    this.#store(value(7), size, source);
    const step = (this.#at.flags & DF) === 0n ? BigInt(size) : -BigInt(size);
    if (name === "movs") move(6, step);
    move(7, step);
    if (isRepeated) move(1, -1n);
    if (!isRepeated || value(1) === 0n) this.#at.rip = this.#next;
  }

  #jump(): void {
    const { condition, distance } = this.#it;
    this.#at.rip = this.#isTaken(condition)
      ? BigInt.asUintN(this.#codeBits, this.#next + distance)
      : this.#next;
  }

  #isTaken(condition: number): boolean {
    const has = (flag: bigint): boolean => (this.#at.flags & flag) !== 0n;
    const all: readonly boolean[] = [
      has(OF),
      has(CF),
      has(ZF),
      has(CF) || has(ZF),
      has(SF),
      has(PF),
      has(SF) !== has(OF),
      has(ZF) || has(SF) !== has(OF),
    ];
    return condition < 0 || all[condition >> 1] === (condition % 2 === 0);
  }

  #push(): void {
    const value = BigInt.asUintN(this.#it.size * 8, this.#read(0));
    const top = BigInt.asUintN(this.#codeBits, (this.#at.registers[4] ?? 0n) - BigInt(this.#it.size));
    this.#store(top, this.#it.size, value);
    this.#assign(4, this.#codeBits / 8, false, top);
    this.#at.rip = this.#next;
  }

  #pop(): void {
    const top = BigInt.asUintN(this.#codeBits, this.#at.registers[4] ?? 0n);
    const value = this.#load(top, this.#it.size);
    const above = BigInt.asUintN(this.#codeBits, top + BigInt(this.#it.size));
    this.#assign(4, this.#codeBits / 8, false, above);
    this.#write(0, value);
    this.#at.rip = this.#next;
  }

  #read(index: number): bigint {
    const operand = this.#it.operands[index];
    const size = index === 0 ? this.#it.size : this.#it.sourceSize;
    if (operand?.place === "immediate") return BigInt.asUintN(size * 8, operand.value);
    if (operand?.place === "memory") return this.#load(this.#address(operand), size);
    const value = this.#at.registers[operand?.register ?? 0] ?? 0n;
    return BigInt.asUintN(size * 8, operand?.isHighByte === true ? value >> 8n : value);
  }

  #write(index: number, value: bigint): void {
    const operand = this.#it.operands[index];
    if (operand?.place === "memory") this.#store(this.#address(operand), this.#it.size, value);
    else if (operand?.place === "register")
      this.#assign(operand.register, this.#it.size, operand.isHighByte, value);
  }

  #assign(register: number, size: number, isHighByte: boolean, value: bigint): void {
    const old = this.#at.registers[register] ?? 0n;
    const shift = isHighByte ? 8n : 0n;
    const mask = size === 1 ? 0xffn << shift : size === 2 ? 0xffffn : 0xffff_ffff_ffff_ffffn;
    this.#at.registers[register] = (old & ~mask) | (BigInt.asUintN(size * 8, value) << shift);
  }

  #address(operand: Operand | undefined): bigint {
    if (operand?.place !== "memory") throw new Error("the operand is not in memory");
    const { base, index, scale, displacement, bits, isRelative } = operand.memory;
    let address = displacement + (isRelative ? this.#next : 0n);
    if (base !== null) address += this.#at.registers[base] ?? 0n;
    if (index !== null) address += (this.#at.registers[index] ?? 0n) * scale;
    return BigInt.asUintN(bits, address);
  }

  #load(address: bigint, size: number): bigint {
    let value = 0n;
    for (let byte = 0; byte < size; byte++)
      value |= this.#at.read(BigInt.asUintN(64, address + BigInt(byte))) << BigInt(8 * byte);
    return value;
  }

  #store(address: bigint, size: number, value: bigint): void {
    for (let byte = 0; byte < size; byte++)
      this.#at.write(BigInt.asUintN(64, address + BigInt(byte)), (value >> BigInt(8 * byte)) & 0xffn);
  }
}

function half(value: bigint): bigint {
  return BigInt.asUintN(32, value);
}
