/**
 * Lets a scenario file that lies anywhere import "umbra". Called on every thread that loads scenarios, before the
 * first of them.
 */
import { registerHooks } from "node:module";
import { OWN_FORMAT } from "./own-files.ts";

const NAME = "umbra";
const INDEX = new URL("../index.ts", import.meta.url).href;
const TYPESCRIPT = /\.m?ts(?:$|\?)/;

let isRegistered = false;

/** From now on, "umbra" is this Umbra for every module that this thread loads. */
export function resolveUmbraName(): void {
  if (isRegistered) return;
  isRegistered = true;
  registerHooks({
    resolve(specifier, context, nextResolve) {
      if (specifier === NAME) return { url: INDEX, format: OWN_FORMAT, shortCircuit: true };
      const resolved = nextResolve(specifier, context);
      // Beside a package.json that names no type, Node would parse the file twice and warn about it.
      const isLoose = (resolved.format ?? null) === null && TYPESCRIPT.test(resolved.url);
      return isLoose ? { ...resolved, format: "module-typescript" } : resolved;
    },
  });
}
