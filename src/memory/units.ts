/**
 * Kinds of number, as types. Xen keeps frame numbers apart with `typesafe.h`; here a brand does it, so that a
 * guest frame number passed where a machine frame number belongs does not compile. Brands cost nothing at run
 * time: every function below is the identity, and V8 inlines it.
 *
 * Brands are minted in this file only. Everything else receives them.
 */

declare const brand: unique symbol;
type Branded<Name extends string> = number & { readonly [brand]: Name };

/** Guest frame number: a page of the guest's idea of physical memory. 0 ≤ gfn < 2^28. */
export type Gfn = Branded<"Gfn">;
/** Machine frame number: a frame of the machine's memory. 0 ≤ mfn < 2^20; frame 0 is never used. */
export type Mfn = Branded<"Mfn">;
/** Index of an int32 word of the shared memory. The cell of a 64-bit entry is even. */
export type Cell = Branded<"Cell">;
/** Number of a vCPU of the machine, from 0. */
export type VcpuId = Branded<"VcpuId">;

/** A number as a guest frame number. */
export function gfn(value: number): Gfn {
  return value as Gfn;
}

/** A number as a machine frame number. */
export function mfn(value: number): Mfn {
  return value as Mfn;
}

/** A number as the index of a word. */
export function cell(value: number): Cell {
  return value as Cell;
}

/** A number as the number of a vCPU. */
export function vcpuId(value: number): VcpuId {
  return value as VcpuId;
}

/** The gfn that no page has. */
export const NO_GFN: Gfn = gfn(-1);
/** The mfn that no frame has. */
export const NO_MFN: Mfn = mfn(-1);

/** Bytes in a page. */
export const PAGE_BYTES = 4096;
/** Int32 words in a page. */
export const PAGE_WORDS = 1024;
