/**
 * Machine code by which a kernel writes pagetable entries, as its boot loader puts it into memory: routines one behind
 * the other, none of which returns; a vCPU runs one from its start to its end. RDI has the address of the entry.
 */
import type { GuestFormat } from "../scenario.ts";

/** Behind each routine, so that an emulator that executes ahead does not come into the next (spec 5.6). */
const HLT = 0xf4;

/** What a kernel can do by machine code. */
export type RoutineName = keyof typeof CODE_32;

/** The routines of 32-bit kernels. */
const CODE_32 = {
  /** Writes the low half: EAX. */
  store: [
    [0x89, 0x07], // mov [edi], eax
  ],
  /** Makes an entry of two halves present: EDX first, then EAX. */
  storeUpward: [
    [0x89, 0x57, 0x04], // mov [edi+4], edx
    [0x89, 0x07], // mov [edi], eax
  ],
  /** Takes an entry of two halves away, or leaves it absent: EAX first, then EDX. */
  storeDownward: [
    [0x89, 0x07], // mov [edi], eax
    [0x89, 0x57, 0x04], // mov [edi+4], edx
  ],
  /** Replaces an entry of 8 bytes that may be in use by ECX:EBX. */
  replace: [
    [0x8b, 0x07], // mov eax, [edi]
    [0x8b, 0x57, 0x04], // mov edx, [edi+4]
    [0xf0, 0x0f, 0xc7, 0x0f], // lock cmpxchg8b [edi]
    [0x75, 0xfa], // jne to the line before
  ],
  /** Clears an entry of 4 bytes; EAX is what it was. */
  take: [
    [0x31, 0xc0], // xor eax, eax
    [0x87, 0x07], // xchg eax, [edi]
  ],
  /** Clears an entry of two halves; EDX:EAX is what it was. */
  takeHalves: [
    [0x31, 0xc0], // xor eax, eax
    [0x87, 0x07], // xchg eax, [edi]
    [0x8b, 0x57, 0x04], // mov edx, [edi+4]
    [0xc7, 0x47, 0x04, 0x00, 0x00, 0x00, 0x00], // mov dword [edi+4], 0
  ],
  /** Keeps the bits of ESI in the low half and sets those of EBX; EAX is what it was. */
  update: [
    [0x8b, 0x07], // mov eax, [edi]
    [0x89, 0xc1], // mov ecx, eax
    [0x21, 0xf1], // and ecx, esi
    [0x09, 0xd9], // or ecx, ebx
    [0xf0, 0x0f, 0xb1, 0x0f], // lock cmpxchg [edi], ecx
    [0x75, 0xf4], // jne four lines back
  ],
  /** Clears the W bit by its byte. */
  protectByte: [
    [0xf0, 0x80, 0x27, 0xfd], // lock and byte [edi], 0xfd
  ],
  /** Clears the W bit by its number. */
  protectBit: [
    [0xf0, 0x0f, 0xba, 0x37, 0x01], // lock btr dword [edi], 1
  ],
  /** Writes EAX to ECX words. */
  fill: [
    [0xf3, 0xab], // rep stosd
  ],
  /** Copies ECX words from ESI on. */
  copy: [
    [0xf3, 0xa5], // rep movsd
  ],
};

/** Where those of a 64-bit kernel differ: entries of 8 bytes are written whole, from RAX. */
const CODE_64: Readonly<Partial<Record<RoutineName, readonly (readonly number[])[]>>> = {
  store: [
    [0x48, 0x89, 0x07], // mov [rdi], rax
  ],
  take: [
    [0x31, 0xc0], // xor eax, eax
    [0x48, 0x87, 0x07], // xchg rax, [rdi]
  ],
  fill: [
    [0xf3, 0x48, 0xab], // rep stosq
  ],
  copy: [
    [0xf3, 0x48, 0xa5], // rep movsq
  ],
};

/** A routine's place: offsets from where the code begins. */
export interface Routine {
  readonly start: number;
  readonly end: number;
}

/** All routines of a kernel. */
export interface EntryCode {
  readonly bytes: readonly number[];
  readonly routines: Readonly<Record<string, Routine>>;
}

/** The code for a format. */
export function entryCode(format: GuestFormat): EntryCode {
  const bytes: number[] = [];
  const routines: Record<string, Routine> = {};
  for (const [name, code] of Object.entries<readonly (readonly number[])[]>(
    format === "4level" ? { ...CODE_32, ...CODE_64 } : CODE_32,
  )) {
    const start = bytes.length;
    bytes.push(...code.flat());
    routines[name] = { start, end: bytes.length };
    bytes.push(HLT);
  }
  return { bytes, routines };
}
