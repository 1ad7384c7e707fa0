// The list of compared models: parses typed parameters and validates the kernel's list.

import { expect, test } from "vitest";
import { armsOf, readParams } from "../../ipyllm_widgets/static/compare/model_list.js";

test.each([
  ["", {}],
  ["  ", {}],
  ["temperature=1 max_tokens=50", { temperature: 1, max_tokens: 50 }],
  ["effort=high", { effort: "high" }],
  ['stop=["a b", "c"] temperature=0.5', { stop: ["a b", "c"], temperature: 0.5 }],
  ['system="Be \\"brief\\", please"', { system: 'Be "brief", please' }],
  ['format={"type": "json"}', { format: { type: "json" } }],
  ["flag=true none=null", { flag: true, none: null }],
])("%j is parsed", (text, params) => {
  expect(readParams(text)).toEqual(params);
});

test.each(["temperature", "=1", "temperature=", "temperature =1", "0.5"])("%j is refused with an explanation", (text) => {
  expect(readParams(text)).toMatch(/^Parameters must have the form name=value/);
});

test("a parameter named like a part of every object is a parameter", () => {
  expect(Object.keys(readParams("__proto__=1 constructor=2"))).toEqual(["__proto__", "constructor"]);
  expect({}.polluted).toBeUndefined();
});

test.each([
  [undefined, []],
  [null, []],
  [7, []],
  ["openai/x", []],
  [{ model: "a/b" }, []],
  [[null, 7, "x", {}, { model: 7 }, { model: "a/b" }], [{ model: "a/b", params: {} }]],
  [[{ model: "a/b", params: 7 }, { model: "c/d", params: [1] }], [{ model: "a/b", params: {} }, { model: "c/d", params: {} }]],
  [[{ model: "a/b", params: { t: 1 }, more: 1 }], [{ model: "a/b", params: { t: 1 } }]],
])("of %j the valid items are kept", (given, arms) => {
  expect(armsOf(given)).toEqual(arms);
});
