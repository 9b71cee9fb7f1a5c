/** What a program's main is given, as a text for tokens and files: JSON where that says it all. */
import { deserialize, serialize } from "node:v8";
import { isDeepStrictEqual } from "node:util";
import { UsageError } from "../../errors.ts";

/** Before what JSON cannot say: a Map, a bigint, undefined. */
const BINARY = "v8:";

/** Plain data as a text, an empty one for none. Throws UsageError for what cannot be sent to a thread, a function say. */
export function writeInput(input: unknown): string {
  if (input === undefined) return "";
  const text = jsonOf(input);
  if (text !== undefined && isDeepStrictEqual(JSON.parse(text), input)) return text;
  try {
    return BINARY + serialize(input).toString("base64url");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`input: must be plain data: ${reason}`, { cause: error });
  }
}

/** The data of a text. Throws UsageError when it is none. */
export function readInput(text: string): unknown {
  if (text === "") return undefined;
  try {
    return text.startsWith(BINARY)
      ? deserialize(Buffer.from(text.slice(BINARY.length), "base64url"))
      : JSON.parse(text);
  } catch (error) {
    throw new UsageError(`input "${text.slice(0, 60)}": is no JSON, or was cut`, { cause: error });
  }
}

/** Undefined where JSON refuses: a bigint, a circle. */
function jsonOf(input: unknown): string | undefined {
  try {
    return JSON.stringify(input);
  } catch {
    return undefined;
  }
}
