// Votes by a key: letters of the answers come before those of a tie and of none.

import { expect, test } from "vitest";
import { outcomeOf } from "../../ipyllm_widgets/static/compare/round.js";

const CHOICES = [["A", "A"], ["C", "C"], ["T", "tie"], ["X", "both_bad"], ["0", "none"]];

test.each([["a", "A"], ["C", "C"], ["t", "tie"], ["x", "both_bad"], ["0", "none"], ["b", null], ["Enter", null], [" ", null]])("%j votes for %j", (key, which) => {
  expect(outcomeOf(key, CHOICES)).toBe(which);
});

test("with twenty answers, T is one of them", () => {
  expect(outcomeOf("t", [["T", "T"], ...CHOICES])).toBe("T");
});
