/** What the points of one design say together: where it is best, where it ends, and how well a law of scaling fits. */
import type { ScalingRow, SimulatedPoint, UslFit } from "../../report/types.ts";

/** What a law of scaling is fitted to. */
export interface Measured {
  readonly vcpus: number;
  readonly throughput: number;
}

/** What a knee is worked out from: how much of their time vCPUs waited for a lock, and how much of it it was held. */
export interface LockLoad {
  readonly vcpus: number;
  readonly waitingShare: number;
  readonly utilisation: number;
}

/** A row for each design of a sweep. */
export function scalingRows(points: readonly SimulatedPoint[]): ScalingRow[] {
  const measured = points.filter(({ reason }) => reason === null);
  return [...new Set(measured.map(({ design }) => design))].map((design) => {
    const own = measured.filter((point) => point.design === design).toSorted((a, b) => a.vcpus - b.vcpus);
    const best = own.reduce((most, point) => (point.throughput > most.throughput ? point : most));
    return {
      design,
      bestVcpus: best.vcpus,
      bestThroughput: best.throughput,
      knee: shadowLockKnee(own[0]),
      bottleneckAt: own.filter(isLockTheBottleneck).map(({ vcpus }) => vcpus),
      usl: uslFit(own),
    };
  });
}

/**
 * N* = (Z + S) / S (concurrency 3.14): as many vCPUs as a lock can serve if each spends its time as those here do, waiting
 * apart. Of N vCPUs that wait w of their time for a lock that is held u of it, (Z + S) / S is N (1 - w) / u. Null when
 * nobody held it.
 */
export function kneeOf({ vcpus, waitingShare, utilisation }: LockLoad): number | null {
  return utilisation === 0 ? null : (vcpus * (1 - waitingShare)) / utilisation;
}

/** From these shares on the shadow lock is the bottleneck: of the vCPUs' time, waiting for it; or of all time, being held. */
const BOTTLENECK_WAITING = 0.5;
const BOTTLENECK_HELD = 0.9;

/**
 * Whether the shadow lock is the bottleneck: vCPUs lose half of their time or more to it, or it is hardly ever free. Either
 * alone will do, since a lock whose hand-off is slow is held little, and vCPUs that have little to do wait little.
 */
export function isLockTheBottleneck({ shadowLockWaiting, utilisation }: SimulatedPoint): boolean {
  return shadowLockWaiting >= BOTTLENECK_WAITING || utilisation >= BOTTLENECK_HELD;
}

function shadowLockKnee(point: SimulatedPoint | undefined): number | null {
  if (point === undefined) return null;
  const { vcpus, shadowLockWaiting, utilisation } = point;
  return kneeOf({ vcpus, waitingShare: shadowLockWaiting, utilisation });
}

/**
 * Gunther's universal scalability law, X(N) = λ N / (1 + σ (N - 1) + κ N (N - 1)), with λ the throughput of one vCPU and
 * neither σ nor κ below 0. The part by which a point lies off the law is linear in σ and κ, so that least squares have one
 * answer. Null without one vCPU and two other numbers.
 */
export function uslFit(points: readonly Measured[]): UslFit | null {
  const lambda = points.find(({ vcpus }) => vcpus === 1)?.throughput ?? 0;
  const others = points.filter(({ vcpus, throughput }) => vcpus > 1 && throughput > 0);
  if (lambda === 0 || others.length < 2) return null;
  const { sigma, kappa } = leastSquares(
    others.map(({ vcpus, throughput }) => {
      const part = throughput / (lambda * vcpus);
      return { byLambda: part - 1, bySigma: part * (vcpus - 1), byKappa: part * vcpus * (vcpus - 1) };
    }),
  );
  const residuals = points.map(({ vcpus, throughput }) => {
    const fitted = (lambda * vcpus) / (1 + sigma * (vcpus - 1) + kappa * vcpus * (vcpus - 1));
    return { vcpus, residual: throughput / fitted - 1 };
  });
  return { lambda, sigma, kappa, residuals };
}

/** A residual is `byLambda + sigma * bySigma + kappa * byKappa`. */
interface Residual {
  readonly byLambda: number;
  readonly bySigma: number;
  readonly byKappa: number;
}

interface Coefficients {
  readonly sigma: number;
  readonly kappa: number;
}

/** The coefficients with the least sum of squares of residuals among those of which neither is below 0. */
function leastSquares(residuals: readonly Residual[]): Coefficients {
  const sum = (one: keyof Residual, other: keyof Residual): number =>
    residuals.reduce((total, each) => total + each[one] * each[other], 0);
  const [ss, kk, sk] = [sum("bySigma", "bySigma"), sum("byKappa", "byKappa"), sum("bySigma", "byKappa")];
  const [s, k] = [-sum("bySigma", "byLambda"), -sum("byKappa", "byLambda")];
  const determinant = ss * kk - sk * sk;
  const free = { sigma: (s * kk - k * sk) / determinant, kappa: (k * ss - s * sk) / determinant };
  if (free.sigma >= 0 && free.kappa >= 0) return free;
  const squares = ({ sigma, kappa }: Coefficients): number =>
    sigma * (sigma * ss - 2 * s) + kappa * (kappa * kk - 2 * k) + 2 * sigma * kappa * sk;
  const onlySigma = { sigma: Math.max(0, s / ss), kappa: 0 };
  const onlyKappa = { sigma: 0, kappa: Math.max(0, k / kk) };
  return squares(onlySigma) <= squares(onlyKappa) ? onlySigma : onlyKappa;
}
