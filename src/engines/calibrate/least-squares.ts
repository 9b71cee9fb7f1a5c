/** Least squares of which no coefficient is below 0: a cost is none that gives time back. */

const SWEEPS_MAX = 20_000;
const NEGLIGIBLE = 1e-9;

/**
 * The coefficients that bring the sums of `rows`, each times its coefficient, nearest to `wanted`. One after another is set
 * to its best while the others stand, until none moves: the sum of squares is convex, and so are the bounds.
 */
export function nonNegative(rows: readonly (readonly number[])[], wanted: readonly number[]): number[] {
  const count = rows[0]?.length ?? 0;
  // Columns of one length each, so that none is negligible for being counted in large numbers.
  const lengths = Array.from({ length: count }, (_, column) =>
    Math.sqrt(rows.reduce((sum, row) => sum + (row[column] ?? 0) ** 2, 0)),
  );
  const at = (row: readonly number[], column: number): number =>
    lengths[column] === 0 ? 0 : (row[column] ?? 0) / (lengths[column] ?? 1);
  const products = lengths.map((_, one) =>
    lengths.map((__, other) => rows.reduce((sum, row) => sum + at(row, one) * at(row, other), 0)),
  );
  const targets = lengths.map((_, one) =>
    rows.reduce((sum, row, index) => sum + at(row, one) * (wanted[index] ?? 0), 0),
  );
  const found = lengths.map(() => 0);
  for (let sweep = 0; sweep < SWEEPS_MAX; sweep++) {
    let moved = 0;
    for (const [one, own] of products.entries()) {
      if (lengths[one] === 0) continue;
      const before = found[one] ?? 0;
      const others = own.reduce((sum, product, other) => sum + product * (found[other] ?? 0), 0) - before;
      const best = Math.max(0, (targets[one] ?? 0) - others);
      found[one] = best;
      moved = Math.max(moved, Math.abs(best - before));
    }
    if (moved < NEGLIGIBLE) break;
  }
  return found.map((value, column) => (lengths[column] === 0 ? 0 : value / (lengths[column] ?? 1)));
}
