/** A schedule as a short text, to be replayed. */
import { UsageError } from "../../errors.ts";
import type { Directive } from "../directives.ts";

const DIRECTIVE = /^(\d+)\.(\d+)\.(\d+)$/;

/** `0.4.1-1.2.0`: after its 4th operation thread 0 gives way to thread 1, and so on. */
export function writeDirectives(directives: readonly Directive[]): string {
  return directives.map(({ thread, performed, next }) => [thread, performed, next].join(".")).join("-");
}

/** The directives of a text. Throws UsageError when it is none. */
export function readDirectives(text: string): Directive[] {
  if (text === "") return [];
  return text.split("-").map((part) => {
    const [, thread, performed, next] = DIRECTIVE.exec(part) ?? [];
    if (thread === undefined)
      throw new UsageError(`schedule "${text}": "${part}" is not thread.operations.thread`);
    return { thread: Number(thread), performed: Number(performed), next: Number(next) };
  });
}
