/** The text of coroutines. What they do is compared with the original in same-behaviour.test.ts. */
import { expect, test } from "vitest";
import { translated } from "./translate.ts";

/** Source and what becomes of it, for the eye: one row for each kind of place. */
test.each([
  {
    what: "an access gets one more argument",
    from: "function f(m, c) { m.storeWord(c, 1); }",
    to: "function* f(m, c) { m.storeWord(c, 1, $S.at(0, c) && (yield)); }",
  },
  {
    what: "an access with a comma behind its last argument",
    from: "function f(m, c) { m.storeWord(\nc,\n1, // one\n); }",
    to: "function* f(m, c) { m.storeWord(\nc,\n1, // one\n $S.at(0, c) && (yield)); }",
  },
  {
    what: "a cell that is computed is kept",
    from: "function f(m, c) { return m.loadWord(c + 1); }",
    to: "function* f(m, c) {let $0; return m.loadWord(($0 = c + 1), $S.at(0, $0) && (yield)); }",
  },
  {
    what: "a cell that a later argument changes is kept",
    from: "function f(m, c) { m.storeWord(c, c++); }",
    to: "function* f(m, c) {let $0; m.storeWord(($0 = c), c++, $S.at(0, $0) && (yield)); }",
  },
  {
    what: "nested accesses have temporaries of their own",
    from: "function f(m) { return m.loadWord(m.loadWord(m.loadWord(1) + 2) + 3); }",
    to:
      "function* f(m) {let $0, $1; return m.loadWord(($0 = m.loadWord(($1 = m.loadWord(1, " +
      "$S.at(2, 1) && (yield)) + 2), $S.at(1, $1) && (yield)) + 3), $S.at(0, $0) && (yield)); }",
  },
  {
    what: "byte addresses become cells",
    from: "function f(m, a) { m.storeByte(a, 1); }",
    to: "function* f(m, a) { m.storeByte(a, 1, $S.at(0, a >> 2) && (yield)); }",
  },
  {
    what: "a fill covers a run of cells",
    from: "function f(m, c, n) { m.fillWords(c, n, 0); }",
    to: "function* f(m, c, n) { m.fillWords(c, n, 0, $S.fillAt(0, c, n) && (yield)); }",
  },
  {
    what: "waiting is left to the scheduler",
    from: "function f(m, c) { m.waitWhile(c, 1); }",
    to: "function* f(m, c) { $S.nothing(m, c, 1, $S.waitAt(0, c, 1) && (yield)); }",
  },
  {
    what: "waiting on a line of its own stays there",
    from: "function f(m, c) {\n  m\n    .waitWhile(c, 1);\n}",
    to: "function* f(m, c) {\n  $S.nothing(m\n    , c, 1, $S.waitAt(0, c, 1) && (yield));\n}",
  },
  {
    what: "the object of a primitive is its cell",
    from: "function f(world) { world.lock.enterLock(); }",
    to: "function* f(world) {let $0; ($0 = world.lock).enterLock($S.on(0, $0) && (yield)); }",
  },
  {
    what: "giving up a lock concerns two objects",
    from: "function f(c, l) { c.suspendOn(l); c.resumeFrom(l); }",
    to: "function* f(c, l) { c.suspendOn(l, $S.on(0, c, l) && (yield)); c.resumeFrom(l, $S.on(1, c, l) && (yield)); }",
  },
  {
    what: "a call of a coroutine is delegated to",
    from: "function g(m) { return m.loadWord(0); } function f(m) { return g(m).x; }",
    to:
      "function* g(m) { return m.loadWord(0, $S.at(0, 0) && (yield)); } " +
      "function* f(m) {let $0; return (($0 = $S.call(g(m))) === $S ? (yield) : $0).x; }",
  },
  {
    what: "a function that only hands a coroutine on, whichever way it takes, needs none of its own",
    from:
      "function g(m) { m.loadWord(0); } class A { f(m, a) { this.a = a; return g(m); } #h(m, a) { if (a) return g(m); else { throw a; } } " +
      "i(m, a) { return a ? this.f(m, a) : this.#h(m, a); } }",
    to:
      "function* g(m) { m.loadWord(0, $S.at(0, 0) && (yield)); } class A { f(m, a) { this.a = a; return g(m); } #h(m, a) { if (a) return g(m); else { throw a; } } " +
      "i(m, a) { return a ? this.f(m, a) : this.#h(m, a); } }",
  },
  {
    what: "one that may return something else, or has something left to do, needs its own",
    from:
      "function g(m) { m.loadWord(0); } function a(m, x) { if (x) return 1; return g(m); } function b(m) { try { return g(m); } finally { m.x = 1; } } " +
      "function c(m, x) { if (x) return g(m); } function d(m) { g(m); return g(m); } function e(m) { return m.loadWord(g(m)); }",
    to:
      "function* g(m) { m.loadWord(0, $S.at(0, 0) && (yield)); } function* a(m, x) {let $0; if (x) return 1; return (($0 = $S.call(g(m))) === $S ? (yield) : $0); } " +
      "function* b(m) {let $0; try { return (($0 = $S.call(g(m))) === $S ? (yield) : $0); } finally { m.x = 1; } } " +
      "function* c(m, x) {let $0; if (x) return (($0 = $S.call(g(m))) === $S ? (yield) : $0); } " +
      "function* d(m) {let $0; (($0 = $S.call(g(m))) === $S ? (yield) : $0); return (($0 = $S.call(g(m))) === $S ? (yield) : $0); } " +
      "function* e(m) {let $0, $1; return m.loadWord(($0 = (($1 = $S.call(g(m))) === $S ? (yield) : $1)), $S.at(1, $0) && (yield)); }",
  },
  {
    what: "a statement is not a parenthesis of the one before",
    from: "function g(m, c) { m.loadWord(c) }\nfunction f(m, o) { let a = m\ng(m)\no.x.enterLock() }",
    to:
      "function* g(m, c) { m.loadWord(c, $S.at(0, c) && (yield)) }\n" +
      "function* f(m, o) {let $0; let a = m\n;(($0 = $S.call(g(m))) === $S ? (yield) : $0)\n;($0 = o.x).enterLock($S.on(1, $0) && (yield)) }",
  },
  {
    what: "private methods, and super",
    from: "class A extends B { #g(m, c) { m.loadWord(c); } f(m) { this.#g(m, 1); super.f(m); } }",
    to: "class A extends B { *#g(m, c) { m.loadWord(c, $S.at(0, c) && (yield)); } *f(m) {let $0; (($0 = $S.call(this.#g(m, 1))) === $S ? (yield) : $0); (($0 = $S.call(super.f(m))) === $S ? (yield) : $0); } }",
  },
  {
    what: "an optional call has nobody to wait for when there is no object",
    from: "class A { f(m, c) { m.loadWord(c); } } function g(a) { return a?.f(1, 2); }",
    to:
      "class A { *f(m, c) { m.loadWord(c, $S.at(0, c) && (yield)); } } " +
      "function* g(a) {let $0; return ($S.isCoroutine($0 = a?.f(1, 2)) ? ($0 = $S.call($0)) === $S ? (yield) : $0 : $0); }",
  },
  {
    what: "an optional method",
    from: "class A { f(m, c) { m.loadWord(c); } } function g(a) { return a.f?.(1, 2); }",
    to:
      "class A { *f(m, c) { m.loadWord(c, $S.at(0, c) && (yield)); } } " +
      "function* g(a) {let $0; return ($S.isCoroutine($0 = a.f?.(1, 2)) ? ($0 = $S.call($0)) === $S ? (yield) : $0 : $0); }",
  },
  {
    what: "an optional access",
    from: "function g(m, c) { return m?.loadWord(c); }",
    to: "function* g(m, c) { return m?.loadWord(c, $S.at(0, c) && (yield)); }",
  },
  {
    what: "a function out of a list is asked what it is",
    from: "function g(list, m) { const f = list[0]; f(m); list[1](m); }",
    to:
      "function* g(list, m) {let $0; const f = list[0]; ($S.isCoroutine($0 = f(m)) ? ($0 = $S.call($0)) === $S ? (yield) : $0 : $0); " +
      "($S.isCoroutine($0 = list[1](m)) ? ($0 = $S.call($0)) === $S ? (yield) : $0 : $0); }",
  },
  {
    what: "arrows",
    from: "const f = (m, c) => m.loadWord(c); const g = m => { m.loadWord(m.c); };",
    to:
      "const f = function* (m, c)  { return ( m.loadWord(c, $S.at(0, c) && (yield))); }; " +
      "const g = function* (m ) {let $0; m.loadWord(($0 = m.c), $S.at(1, $0) && (yield)); };",
  },
  {
    what: "an arrow to an object, and one with an arrow in a comment",
    from: "const f = (m, c) => ({ a: m.loadWord(c) }); const g = (m, c) => /* => */ m.loadWord(c);",
    to:
      "const f = function* (m, c)  { return ( ({ a: m.loadWord(c, $S.at(0, c) && (yield)) })); }; " +
      "const g = function* (m, c)  { return ( /* => */ m.loadWord(c, $S.at(1, c) && (yield))); };",
  },
  {
    what: "properties and fields",
    from: "const o = { f: (m, c) => m.loadWord(c), g(m) { this.f(m, 1); } }; class A { h = (m, c) => { m.loadWord(c); }; i() { this.h(1, 2); } }",
    to:
      "const o = { f: function* (m, c)  { return ( m.loadWord(c, $S.at(0, c) && (yield))); }, *g(m) {let $0; (($0 = $S.call(this.f(m, 1))) === $S ? (yield) : $0); } }; " +
      "class A { h = function* (m, c)   { m.loadWord(c, $S.at(1, c) && (yield)); }; *i() {let $0; (($0 = $S.call(this.h(1, 2))) === $S ? (yield) : $0); } }",
  },
  {
    what: "what cannot reach memory stays as it is",
    from: "export function f(a) { return a.map((x) => x + 1); }",
    to: "export function f(a) { return a.map((x) => x + 1); }",
  },
])("$what", ({ from, to }) => {
  expect(translated(from)).toBe(to);
});
