/** Measures one figure of the explorer, named by its argument, in this process alone. */
import { argv, exit, stdout } from "node:process";
import { EXPLORER_FIGURES, measureExplorer } from "./explorer-figures.ts";
import type { ExplorerFigureName } from "./explorer-figures.ts";

const name = argv[2] ?? "";
if (!isFigure(name)) throw new RangeError(`there is no figure ${name}`);
const value = await measureExplorer(name);
stdout.write(JSON.stringify(value), () => exit(0));

function isFigure(text: string): text is ExplorerFigureName {
  return Object.hasOwn(EXPLORER_FIGURES, text);
}
