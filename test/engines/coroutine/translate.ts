/** Rewrites texts without files, for tests. */
import { Colouring } from "../../../src/engines/coroutine/colour.ts";
import { rewrite } from "../../../src/engines/coroutine/rewrite.ts";
import { SiteTable } from "../../../src/engines/coroutine/sites.ts";
import { parseModule } from "../../../src/engines/coroutine/syntax.ts";

/** Texts of modules by file name. */
export type Files = Readonly<Record<string, string>>;

function colour(files: Files, isRaw: boolean): Colouring {
  const modules = new Map(
    Object.entries(files).map(([name, text]) => {
      const url = `file:///${name}`;
      return [url, parseModule(url, text, isRaw)];
    }),
  );
  return new Colouring(modules, (specifier, from) =>
    specifier.startsWith(".") ? new URL(specifier, from).href : undefined,
  );
}

/** What the first of some modules becomes, without the line of imports before it. */
export function translated(text: string, isRaw = false, others: Files = {}): string {
  const colouring = colour({ "a.ts": text, ...others }, isRaw);
  const module = colouring.modules.get("file:///a.ts");
  if (module === undefined) throw new Error("no module");
  const tools = { colouring, sites: new SiteTable(), schedulerUrl: "s", rawUrl: "r" };
  return rewrite(module, tools).replace(/^(?:import \{ (?:SCHEDULER|RAW) as \$[SU] \} from "[sr]"; ?)+/, "");
}

/** Why some modules cannot be translated: `file:line: reason` each. */
export function refused(text: string, isRaw = false, others: Files = {}): string[] {
  return colour({ "a.ts": text, ...others }, isRaw)
    .refusals()
    .map(({ url, line, reason }) => `${url.slice("file:///".length)}:${String(line)}: ${reason}`);
}
