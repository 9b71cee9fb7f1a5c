/** Planted faults: a pager, a balloon or a device model that does not do what it says. The guest must see each go wrong. */
import type { Toolstack } from "../../src/guest/ports.ts";
import { defineScenario } from "../../src/guest/scenario.ts";
import p2mTypes from "../../scenarios/p2m-types.ts";

/** What goes wrong, by its name as an option. */
const FAULTS: Readonly<Record<string, (toolstack: Toolstack) => Partial<Toolstack>>> = {
  "forgets-contents": (toolstack) => ({
    loadPage: (gfn, _from, _at, words) => toolstack.loadPage(gfn, new Int32Array(words), 0, words),
  }),
  "seals-in-name": () => ({ setPageType: () => true }),
  "gives-poison": (toolstack) => ({
    populateOnDemand: (gfn) => {
      toolstack.removePage(gfn);
      return toolstack.addPage(gfn);
    },
  }),
  "maps-no-device": () => ({ mapDevice: () => true }),
};

/** The toolstack with some calls replaced. */
function broken(toolstack: Toolstack, fault: string): Toolstack {
  const replaced = new Map<PropertyKey, unknown>(Object.entries(FAULTS[fault]?.(toolstack) ?? {}));
  return new Proxy(toolstack, {
    get(target, name) {
      if (replaced.has(name)) return replaced.get(name);
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

export default defineScenario({
  ...p2mTypes,
  name: "broken-toolstack",
  options: { ...p2mTypes.options, every: 20, fault: "none" },
  boot: (loader, options) => p2mTypes.boot(loader, options),
  toolstack(toolstack, shared, options) {
    p2mTypes.toolstack?.(broken(toolstack, options.fault), shared, options);
  },
});
