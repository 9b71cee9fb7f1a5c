/** Measures one figure, named by its argument, in this process alone: types that others use would change what it costs. */
import { argv, stdout } from "node:process";
import { FIGURES } from "./figures.ts";
import { measure } from "./measure.ts";

const figure = FIGURES.find(({ name }) => name === argv[2]);
if (figure === undefined) throw new RangeError(`there is no figure ${String(argv[2])}`);
stdout.write(JSON.stringify(measure(figure.create())));
