/**
 * Runs before every test file. All files of one run draw from one seed, which the configuration picks
 * and prints once, so that any failure can be repeated whole.
 */
import { env } from "node:process";
import { configureGlobal } from "fast-check";

const seed = Number(env["UMBRA_SEED"]);
if (!Number.isInteger(seed)) throw new Error(`UMBRA_SEED wants an integer, got ${env["UMBRA_SEED"]}`);

configureGlobal({ seed });
