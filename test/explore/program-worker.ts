/** The thread of `lab.ts`: answers one question after another. */
import { parentPort } from "node:worker_threads";
import { LAB } from "./program-lab.ts";

parentPort?.on("message", ({ name, given }: { name: keyof typeof LAB; given: never }) => {
  try {
    parentPort?.postMessage({ answer: LAB[name](given) });
  } catch (error) {
    parentPort?.postMessage({ error });
  }
});
