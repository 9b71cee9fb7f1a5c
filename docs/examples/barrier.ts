/** A barrier that can be used again, over Atomics.wait and Atomics.notify: nobody goes on before all have come. */
import { cells, check, spawn } from "umbra";

const ARRIVED = 0;
const ROUND = 1;

function arrive(barrier: Int32Array, count: number): void {
  const round = Atomics.load(barrier, ROUND);
  if (Atomics.add(barrier, ARRIVED, 1) + 1 === count) {
    Atomics.store(barrier, ARRIVED, 0);
    Atomics.add(barrier, ROUND, 1);
    Atomics.notify(barrier, ROUND);
    return;
  }
  while (Atomics.load(barrier, ROUND) === round) Atomics.wait(barrier, ROUND, round);
}

/** Some threads meet twice, and each sees what all did before. */
export default function main({ threads }: { readonly threads: number }): void {
  const barrier = cells(2, "barrier");
  const done = cells(2 * threads, "done");
  const begun = [];
  for (let own = 0; own < threads; own++)
    begun.push(
      spawn(() => {
        for (let round = 0; round < 2; round++) {
          done[round * threads + own] = 1;
          arrive(barrier, threads);
          for (let other = 0; other < threads; other++)
            check(
              done[round * threads + other] === 1,
              `thread ${String(other)} has not come to round ${String(round)}`,
            );
        }
      }),
    );
  for (const each of begun) each.join();
}
