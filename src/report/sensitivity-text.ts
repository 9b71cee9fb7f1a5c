/** How far the results of a sweep depend on single costs, as a text for people. */
import type { SensitivityRow, SimulateResult, SimulatedPoint } from "./simulate-result.ts";
import { count, table } from "./text.ts";
import type { Paint } from "./text.ts";

/** A table of what half a cost more or less does, and whether it turns an answer or an order round. Empty if not asked for. */
export function sensitivityLines({ sensitivity, points }: SimulateResult, paint: Paint): string[] {
  if (sensitivity.length === 0) return [];
  const costs = [...new Set(sensitivity.map(({ cost }) => cost))];
  const designs = [...new Set(sensitivity.map(({ design }) => design))];
  const rows = designs.flatMap((design) =>
    costs.map((cost) =>
      cells(
        sensitivity.filter((row) => row.cost === cost && row.design === design),
        design,
        cost,
      ),
    ),
  );
  const most = sensitivity[0]?.vcpus ?? 0;
  return [
    `${paint.bold("when a cost is halved, or half as high again")} ${paint.faint(`(throughput at ${count(most)} vCPUs by that without)`)}`,
    table(["lock", "cost", "by 0.5", "by 1.5", "the answer"], rows, 2),
    orderLine(sensitivity, points),
  ];
}

function cells(own: readonly SensitivityRow[], design: string, cost: string): string[] {
  const [less, more] = [0.5, 1.5].map((factor) => own.find((row) => row.factor === factor)?.throughput);
  const turns = new Set(own.flatMap(({ answerChangesAt }) => answerChangesAt));
  const answer = turns.size === 0 ? "" : `turns at ${[...turns].map(String).join(", ")}`;
  return [design, cost, less?.toFixed(2) ?? "-", more?.toFixed(2) ?? "-", answer];
}

/** Whether the designs keep their order, by throughput at the most vCPUs, whatever is changed. */
function orderLine(sensitivity: readonly SensitivityRow[], points: readonly SimulatedPoint[]): string {
  const base = ranked(sensitivity, points, () => 1);
  if (base.length < 2) return "one design: there is no order that could change";
  const changes = new Map(
    sensitivity.map(({ cost, factor }) => [`${cost} by ${String(factor)}`, { cost, factor }]),
  );
  const turning = [...changes].filter(([, change]) => {
    const order = ranked(
      sensitivity,
      points,
      (design) =>
        sensitivity.find(
          (row) => row.design === design && row.cost === change.cost && row.factor === change.factor,
        )?.throughput ?? 1,
    );
    return order.join() !== base.join();
  });
  const kept = `the order ${base.join(", ")}`;
  if (turning.length === 0) return `${kept} is kept whatever is changed`;
  return `${kept} is turned round by ${turning.map(([name]) => name).join(", ")}`;
}

/** The designs, the fastest at the most vCPUs first, each throughput times a factor. */
function ranked(
  sensitivity: readonly SensitivityRow[],
  points: readonly SimulatedPoint[],
  factorOf: (design: string) => number,
): string[] {
  const throughputs = new Map(
    sensitivity.map(({ design, vcpus }) => {
      const point = points.find((each) => each.design === design && each.vcpus === vcpus);
      return [design, (point?.throughput ?? 0) * factorOf(design)];
    }),
  );
  return [...throughputs].toSorted(([, a], [, b]) => b - a).map(([design]) => design);
}
