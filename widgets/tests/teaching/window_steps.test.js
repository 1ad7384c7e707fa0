// The context window in the browser is that of Python, which is tested against what is really sent.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { nearest } from "../../ipyllm_widgets/static/teaching/controls.js";
import { sizes, windowSteps } from "../../ipyllm_widgets/static/teaching/window_steps.js";

const CASES = JSON.parse(readFileSync(new URL("window_cases.json", import.meta.url), "utf8"));

test("each request holds what Python says", () => {
  for (const { system, turns, window, reserve, maxTokens, maxMessages, steps } of CASES) {
    const found = windowSteps(system, turns, window, reserve, maxTokens, maxMessages);
    expect(found.map((step) => [step.first, step.history, step.leftOut, step.shared, step.free, step.sent])).toEqual(steps);
  }
});

test("the slider of sizes goes up to the largest, each once", () => {
  const found = sizes(64, 8192);
  expect([found[0], found.at(-1), found.length]).toEqual([64, 8192, 29]);
  expect(new Set(found).size).toBe(found.length);
  expect(sizes(64, 64)).toEqual([64]);
  expect(found[nearest(found, 500)]).toBe(512);
});
