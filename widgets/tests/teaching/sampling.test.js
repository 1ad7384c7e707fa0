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

test("a vocabulary of 150,000 tokens is filtered and drawn from in 100 ms, also on a slow machine", () => {
  const many = Float64Array.from({ length: 150_000 }, (_, index) => -3 - Math.log(index + 1));
  const settings = { temperature: 1.5, top_k: 0, top_p: 0.99, min_p: 0, temperature_first: true, draws: 1000, seed: 1 };
  sampleDistribution(many, settings);
  const times = [1, 2, 3, 4, 5].map(() => {
    const start = performance.now();
    draw(sampleDistribution(many, settings), 1000, 1);
    return performance.now() - start;
  });
  expect(Math.min(...times)).toBeLessThan(100);
});
