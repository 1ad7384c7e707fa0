// Calls at a moment, and numbers as people read them.

import { expect, test } from "vitest";
import { doing, ordered } from "../../ipyllm_widgets/static/teaching/timeline.js";
import { counted, percent, seconds } from "../../ipyllm_widgets/static/teaching/words.js";

const CALL = { label: "b", rank: 1, phases: [["queue", 0, 1], ["wait", 1, 0.5], ["thinking", 1.5, 0.5], ["answer", 2, 2]], cells: [], total: 4, first: 1.5, tokens: 80, failed: "", prompt: "" };

test("a moment is told by what the call does then", () => {
  expect([0, 1.2, 1.7, 3, 4].map((time) => doing(CALL, time))).toEqual([
    "in our queue", "waiting for the first token", "thinking", "writing, about 40 of 80 tokens", "done, 80 tokens",
  ]);
  expect(doing({ ...CALL, failed: "failed: timeout" }, 9)).toBe("failed: timeout");
  expect(doing({ ...CALL, tokens: null }, 3)).toBe("writing");
});

test("calls are ordered without moving those that are equal", () => {
  const calls = [CALL, { ...CALL, label: "a", rank: 0, total: 9, first: 0.1 }, { ...CALL, label: "c", rank: 2, total: 4, first: 3 }];
  const names = (order) => ordered(calls, order).map(({ label }) => label).join("");
  expect(["asked", "model", "first", "total"].map(names)).toEqual(["bac", "abc", "abc", "bca"]);
});

test("numbers read as in Python", () => {
  expect([0.7788, 0.0312, 0.0002, 0.996, 0.9999, 0, 1e-9].map(percent)).toEqual(["78 %", "3.1 %", "0.02 %", "99.6 %", "100 %", "0 %", "<0.0001 %"]);
  expect([0, 0.0001, 0.004, 1.214, 12.34, 61].map(seconds)).toEqual(["0 s", "<0.001 s", "0.004 s", "1.21 s", "12.3 s", "1 min 01 s"]);
  expect([counted(1, "turn"), counted(2000, "turn")]).toEqual(["1 turn", "2,000 turns"]);
});
