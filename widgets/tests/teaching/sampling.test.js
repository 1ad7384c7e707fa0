// The samplers in the browser are those of Python, which are tested against llama.cpp.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { draw, sampleDistribution, uniform } from "../../ipyllm_widgets/static/teaching/sampling.js";

const { logprobs, uniform: numbers, cases } = JSON.parse(readFileSync(new URL("sampling_cases.json", import.meta.url), "utf8"));
const LOGPROBS = Float64Array.from(logprobs);

test("what remains has Python's probabilities, and the draws are the same", () => {
  expect(cases.length).toBeGreaterThan(20);
  for (const { settings, probabilities, drawn } of cases) {
    const found = sampleDistribution(LOGPROBS, settings);
    expect(found.length, JSON.stringify(settings)).toBe(probabilities.length);
    for (const [index, value] of found.entries()) expect(value).toBeCloseTo(probabilities[index], 8);
    expect([...draw(found, settings.draws, settings.seed)], JSON.stringify(settings)).toEqual(drawn);
  }
});

test("random numbers are those of Python", () => {
  for (const [seed, index, value] of numbers) expect(uniform(seed, index)).toBe(value);
});

test("an empty distribution stays empty, and nothing is drawn from it", () => {
  const found = sampleDistribution(new Float64Array(), cases[0].settings);
  expect(found.length).toBe(0);
  expect(draw(found, 10, 1).length).toBe(0);
});
