import { FIGURES } from "./benchmarks.ts";
import { measure } from "./measure.ts";
for (const f of FIGURES) {
  if (process.argv[2] && !f.name.includes(process.argv[2])) continue;
  const m = measure(f.create());
  console.log(
    f.name.padEnd(32),
    m.nanos.toFixed(1).padStart(8),
    m.baseNanos.toFixed(2),
    "ratio",
    (m.nanos / m.baseNanos).toFixed(2),
    "target",
    f.target,
  );
}
