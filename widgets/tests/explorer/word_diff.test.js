// The word diff: what is read without the removed pieces is the new text, without the added ones the old.

import { expect, test } from "vitest";
import { wordDiff } from "../../ipyllm_widgets/static/explorer/word_diff.js";

const marks = { same: "", removed: "-", added: "+" };
const short = (before, after) => wordDiff(before, after).map(({ kind, text }) => marks[kind] + text);

test("words are compared, not characters", () => {
  expect(short("It is cold here.", "It is colder here.")).toEqual(["It is ", "-cold", "+colder", " here."]);
});

test("equal and empty texts", () => {
  expect(short("same", "same")).toEqual(["same"]);
  expect(short("", "")).toEqual([]);
  expect(short("", "new words")).toEqual(["+new words"]);
  expect(short("old", "")).toEqual(["-old"]);
});

test("what was removed comes before what replaced it", () => {
  expect(short("a b c", "a x y c")).toEqual(["a ", "-b", "+x y", " c"]);
});

test("letters of any script are words", () => {
  expect(short("Größe né", "Größe née")).toEqual(["Größe ", "-né", "+née"]);
});

test("both texts can be read back, whatever their length", () => {
  let seed = 7;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  const words = (n, sep) => Array.from({ length: n }, () => `w${random(9)}`).join(sep);
  const texts = [[words(60, " "), words(60, " ")], [words(9000, " "), words(9000, " ")], [words(4000, "\n"), words(4000, "\n")], [words(3, "\n"), words(4000, " ")]];
  for (const [before, after] of texts) {
    const pieces = wordDiff(before, after);
    const without = (kind) => pieces.filter((piece) => piece.kind !== kind).map(({ text }) => text).join("");
    expect(without("added")).toBe(before);
    expect(without("removed")).toBe(after);
    expect(pieces.every(({ kind }, index) => index === 0 || kind !== pieces[index - 1].kind)).toBe(true);
  }
});

test("long texts are compared by lines", () => {
  const line = (n) => `line ${n} ${"word ".repeat(400)}`;
  const before = Array.from({ length: 40 }, (_, n) => line(n)).join("\n");
  const after = before.replace("line 1 ", "line one ").replace("line 38 ", "line 3b ");
  const changed = wordDiff(before, after).filter(({ kind }) => kind !== "same");
  expect(changed.map(({ kind, text }) => [kind, text.slice(0, 8)])).toEqual([["removed", "line 1 w"], ["added", "line one"], ["removed", "line 38 "], ["added", "line 3b "]]);
});
