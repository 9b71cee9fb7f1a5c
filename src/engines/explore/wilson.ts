/** How far a share that was counted may be from the truth. */

/** Of the normal distribution, for 95 %. */
const Z = 1.959964;

/** Wilson's interval at 95 % for `hits` of `trials`: the bounds of the true share, 0 to 1. */
export function wilsonInterval(hits: number, trials: number): { low: number; high: number } {
  if (trials === 0) return { low: 0, high: 1 };
  const share = hits / trials;
  const spread = Z * Z;
  const middle = (share + spread / (2 * trials)) / (1 + spread / trials);
  const half =
    (Z * Math.sqrt((share * (1 - share)) / trials + spread / (4 * trials * trials))) / (1 + spread / trials);
  return { low: hits === 0 ? 0 : middle - half, high: hits === trials ? 1 : middle + half };
}
