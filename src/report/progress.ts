/** The progress line of a run, on standard error while it is a terminal. */
import { stderr } from "node:process";
import { SingleBar } from "cli-progress";

/** Shows how far a run is. */
export interface Progress {
  /** `fraction` of it is done, 0 to 1; `note` says what is worth knowing now. */
  readonly update: (fraction: number, note: string) => void;
  /** Takes the line away. */
  readonly stop: () => void;
}

const STEPS = 1000;

/** A progress line for a run of the given name, or nothing where nobody would see it. */
export function progressLine(name: string, isShown: boolean): Progress {
  if (!isShown) return { update: () => undefined, stop: () => undefined };
  const bar = new SingleBar({
    stream: stderr,
    clearOnComplete: true,
    hideCursor: true,
    format: "{name} {bar} {percentage} %  {note}",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
  });
  bar.start(STEPS, 0, { name, note: "" });
  return {
    update: (fraction, note) => {
      bar.update(Math.min(STEPS, Math.floor(fraction * STEPS)), { note });
    },
    stop: () => {
      bar.stop();
    },
  };
}
