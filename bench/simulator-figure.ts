/** Measures the simulator with one kind of lock, named by the argument, in this process alone. */
import { argv, exit, stdout } from "node:process";
import { LOCK_KINDS } from "../src/engines/machine-settings.ts";
import { measureSimulator } from "./simulator-figures.ts";

const kind = LOCK_KINDS.find((each) => each === argv[2]);
if (kind === undefined) throw new RangeError(`there is no lock ${String(argv[2])}`);
const measured = await measureSimulator(kind);
stdout.write(JSON.stringify(measured), () => exit(0));
