/** What Umbra's own modules are: TypeScript in a clone, JavaScript in an installation. */

/** How their names end. */
export const OWN_EXTENSION: string = import.meta.url.endsWith(".ts") ? ".ts" : ".js";

/** As what Node loads them. */
export const OWN_FORMAT: string = OWN_EXTENSION === ".ts" ? "module-typescript" : "module";
