/** What a module imports and exports. */
import type { AnyNode, ExportNamedDeclaration, ImportDeclaration } from "acorn";
import { boundNames, isFunction, memberName } from "./nodes.ts";

/** A name in another module. */
export interface ForeignName {
  readonly from: string;
  readonly name: string;
}

/** Under this name a module has its default export, when that has no name of its own. */
export const DEFAULT_EXPORT = "default";

/** The bindings of one module, gathered from its statements. */
export class ModuleBindings {
  readonly imports = new Map<string, ForeignName>();
  readonly exports = new Map<string, string | ForeignName>();
  readonly stars: string[] = [];
  readonly specifiers: string[] = [];

  /** Takes notice of a node, whatever it is. */
  note(node: AnyNode): void {
    const from =
      "source" in node && node.source?.type === "Literal" && node.type !== "ImportExpression"
        ? String(node.source.value)
        : undefined;
    if (from !== undefined) this.specifiers.push(from);
    if (node.type === "ImportDeclaration") this.#noteImport(node, from ?? "");
    if (node.type === "ExportAllDeclaration" && from !== undefined && !node.exported) this.stars.push(from);
    if (node.type === "ExportNamedDeclaration") this.#noteExport(node, from);
    if (node.type === "ExportDefaultDeclaration") this.#noteDefault(node.declaration);
  }

  #noteImport({ specifiers }: ImportDeclaration, from: string): void {
    for (const each of specifiers) {
      const name =
        each.type === "ImportSpecifier"
          ? memberName(each.imported)
          : each.type === "ImportDefaultSpecifier"
            ? DEFAULT_EXPORT
            : "*";
      this.imports.set(each.local.name, { from, name });
    }
  }

  #noteExport({ specifiers, declaration }: ExportNamedDeclaration, from: string | undefined): void {
    for (const { local, exported } of specifiers) {
      const name = memberName(local);
      this.exports.set(memberName(exported), from === undefined ? name : { from, name });
    }
    if (declaration?.type === "FunctionDeclaration")
      this.exports.set(declaration.id.name, declaration.id.name);
    if (declaration?.type === "VariableDeclaration")
      for (const name of declaration.declarations.flatMap(({ id }) => boundNames(id)))
        this.exports.set(name, name);
  }

  #noteDefault(declaration: AnyNode): void {
    const name =
      declaration.type === "Identifier"
        ? declaration.name
        : isFunction(declaration) && declaration.type === "FunctionDeclaration"
          ? declaration.id?.name
          : undefined;
    this.exports.set(DEFAULT_EXPORT, name ?? DEFAULT_EXPORT);
  }
}
