// Filters and order of the explorer's rows.

import { deflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { FLAGS, Table } from "../../ipyllm_widgets/static/explorer/table.js";
import { unpack } from "../../ipyllm_widgets/static/unpack.js";

const DATA = {
  name: "reviews", arms: ["a", "b"], scorers: [{ name: "right", direction: true }], comparedBy: "scores", hasJudge: true, leftOut: 0,
  ids: ["p10", "p9", "p1", "p2"], repeats: null, prompts: ["delta", "Bravo", "charlie", "alpha"],
  columns: [{ name: "stars", values: [10, null, 9, 2] }],
  differs: [0, 1, 1, 0],
  cells: [
    { texts: ["x", "", "y", "w"], statuses: ["ok", "", "ok", "ok"], flags: [0, 0, 0, 0], scores: [[1, null, 1, 0.5]] },
    { texts: ["z", "v", "u", "t"], statuses: ["ok", "ok", "ok", "error"], flags: [FLAGS.cut, 0, FLAGS.regressed | FLAGS.cut, FLAGS.failed], scores: [[1, 1, 0, 1]] },
  ],
};
const TABLE = new Table(DATA);

function shown({ filters = [], found = null, sort = "order", descending = false, pair = [0, 1] } = {}) {
  return [...TABLE.select({ filters: new Set(filters), found: found && Uint32Array.from(found), sort, descending, pair })];
}

test("what Python packs is unpacked", async () => {
  expect(await unpack(deflateSync(JSON.stringify({ text: "Größe 🙂" })))).toEqual({ text: "Größe 🙂" });
});

test("each filter counts its rows, of any arm", () => {
  expect(TABLE.counts()).toEqual({ differs: 2, regressed: 1, failed: 1, cut: 2, unsure: 0 });
});

test("a row must pass all filters and the search", () => {
  expect(shown({ filters: ["cut"] })).toEqual([0, 2]);
  expect(shown({ filters: ["cut", "differs"] })).toEqual([2]);
  expect(shown({ filters: ["differs"], found: [0, 1] })).toEqual([1]);
  expect(shown({ found: [] })).toEqual([]);
});

test("rows are sorted by any column, those without a value last in both directions", () => {
  expect(shown({ sort: "column:0" })).toEqual([3, 2, 0, 1]);
  expect(shown({ sort: "column:0", descending: true })).toEqual([0, 2, 3, 1]);
  expect(shown({ sort: "prompt" })).toEqual([3, 1, 2, 0]);
  expect(shown({ sort: "id" })).toEqual([2, 3, 1, 0]);
  expect(shown({ sort: "score:0:0" })).toEqual([3, 0, 2, 1]);
  expect(shown({ sort: "text:0", descending: true })).toEqual([2, 0, 3, 1]);
  expect(shown({ descending: true })).toEqual([3, 2, 1, 0]);
});

test("rows are sorted by the difference of two arms", () => {
  expect(shown({ sort: "difference:0" })).toEqual([2, 0, 3, 1]);
  expect(shown({ sort: "difference:0", pair: [1, 0] })).toEqual([3, 0, 2, 1]);
});

test("a search keeps the order of the input, whatever order it came in", () => {
  expect(shown({ found: [1, 2, 3] })).toEqual([1, 2, 3]);
});

test("an order that is not there is that of the input", () => {
  for (const sort of ["score:9:0", "column:7", "nonsense"]) expect(shown({ sort })).toEqual([0, 1, 2, 3]);
});

test("every order on offer sorts, and says of what", () => {
  const sorts = TABLE.sorts([0, 1]);
  expect(sorts.map(([, label]) => label)).toEqual([
    "order of the input", "difference in right: b − a", "right of a", "right of b", "prompt", "prompt_id", "stars", "answer of a", "answer of b",
  ]);
  for (const [key] of sorts.slice(1)) expect(TABLE.values(key, [0, 1]), key).not.toBeNull();
});

test("while rows are missing, nothing is counted, filtered or sorted", () => {
  const table = new Table({ ...DATA, expected: 9 });
  expect(table.counts()).toBeNull();
  const query = { filters: new Set(["cut"]), found: Uint32Array.of(8), sort: "prompt", descending: true, pair: [0, 1] };
  expect([...table.select(query)]).toEqual([0, 1, 2, 3]);
  table.take(DATA);
  expect([...table.select({ ...query, found: null })]).toEqual([0, 2]);
  expect(table.counts()).toEqual(TABLE.counts());
});
