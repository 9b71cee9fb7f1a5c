/** Whether a translation permits an access (Intel SDM vol. 3A, 4.6.1). Walks ask it, and so do TLB hits. */

const WRITABLE = 2;
const USER = 4;
const EXECUTABLE = 16;

const WRITE = 2;
const BY_USER = 4;
const FETCH = 16;
const IMPLICIT = 1 << 18;

const MODE_WP = 1;
const MODE_SMEP = 2;
const MODE_SMAP = 4;
const MODE_AC = 8;

/** Rights that a translation accumulates over its levels: each level can only take away. */
export const Rights = {
  writable: WRITABLE,
  user: USER,
  executable: EXECUTABLE,
  /** What a walk starts from. */
  all: WRITABLE | USER | EXECUTABLE,
} as const;

/** What an entry leaves of the rights accumulated above it. */
export function narrowRights(rights: number, low: number, high: number): number {
  return rights & ((low & (WRITABLE | USER)) | (high < 0 ? 0 : EXECUTABLE));
}

/** Whether accumulated `rights` permit an `access` (`FaultCode` bits) under a `mode` (`WalkMode` bits). */
export function permits(rights: number, access: number, mode: number): boolean {
  const isUserPage = (rights & USER) !== 0;
  if ((access & BY_USER) !== 0) {
    if (!isUserPage) return false;
    if ((access & FETCH) !== 0) return (rights & EXECUTABLE) !== 0;
    return (access & WRITE) === 0 || (rights & WRITABLE) !== 0;
  }
  if ((access & FETCH) !== 0) {
    return (rights & EXECUTABLE) !== 0 && !(isUserPage && (mode & MODE_SMEP) !== 0);
  }
  if (isUserPage && (mode & MODE_SMAP) !== 0) {
    if ((mode & MODE_AC) === 0 || (access & IMPLICIT) !== 0) return false;
  }
  return (access & WRITE) === 0 || (rights & WRITABLE) !== 0 || (mode & MODE_WP) === 0;
}
