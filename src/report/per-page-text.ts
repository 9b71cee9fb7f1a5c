/** What per-page locks bring, as a text for people. */
import type { SimulatedPoint } from "./simulate-result.ts";
import { count, counted, percent } from "./text.ts";

/** Less waiting than this is no reason to look for the next lock. */
const WAITING = 0.05;

/** For each kind of lock that was measured with both: the most vCPUs per page against the domain lock at its best. */
export function perPageLines(points: readonly SimulatedPoint[]): string[] {
  const measured = points.filter(({ reason }) => reason === null);
  return [...new Set(measured.map(({ lock }) => lock))].flatMap((kind) => {
    const own = measured.filter(({ lock }) => lock === kind).toSorted((a, b) => a.vcpus - b.vcpus);
    const [pages, domain] = (["page", "domain"] as const).map((each) =>
      own.filter(({ granularity }) => granularity === each),
    );
    const most = pages?.at(-1);
    const best = domain?.reduce<SimulatedPoint | undefined>(
      (top, each) => (top === undefined || each.throughput > top.throughput ? each : top),
      undefined,
    );
    if (most === undefined || best === undefined || best.throughput === 0) return [];
    const base = pages?.[0] ?? most;
    return [
      `${kind}: at ${counted(most.vcpus, "vCPU")} per-page locks bring ${(most.throughput / best.throughput).toFixed(1)} ` +
        `times what the domain lock does at its best, ${counted(best.vcpus, "vCPU")}: ${count(most.throughput)} operations ` +
        `per second, ${percent(most.throughput / base.throughput / (most.vcpus / base.vcpus))} of linear` +
        againstDomain(base, domain ?? []),
      nextLine(most),
    ];
  });
}

/** What they cost at the fewest vCPUs. */
function againstDomain(base: SimulatedPoint, domain: readonly SimulatedPoint[]): string {
  const same = domain.find(({ vcpus }) => vcpus === base.vcpus);
  if (same === undefined || same.throughput === 0) return "";
  const ratio = base.throughput / same.throughput;
  return `; at ${counted(base.vcpus, "vCPU")} ${ratio.toFixed(3)} times it`;
}

function phraseOf(lock: string): string {
  if (lock === "paging") return "still the shadow lock, as a whole";
  return lock === "paging in part" ? "still the shadow lock, in part" : `the ${lock} lock`;
}

/** What keeps them from more. */
function nextLine({ locks, spent, vcpus }: SimulatedPoint): string {
  const next = locks.reduce((top, each) => (each.waitingShare > top.waitingShare ? each : top));
  if (next.waitingShare >= WAITING)
    return (
      `  what they wait for now is ${phraseOf(next.name)}, for which ${counted(vcpus, "vCPU")} wait ${percent(next.waitingShare)} of their time` +
      (next.topWaitingSite === null ? "" : `, most of it at ${next.topWaitingSite}`) +
      (next.topHoldingSite === null ? "" : ` while it is held at ${next.topHoldingSite}`)
    );
  const top = spent.reduce((most, each) => (each.share > most.share ? each : most));
  return `  no lock is next: most of the time goes into ${top.name}, ${percent(top.share)}`;
}
