// What temperature, top-k, top-p and min-p make of a distribution, as `ipyllm/prediction/sampling.py`. No DOM.

/**
 * @typedef {{temperature: number, top_k: number, top_p: number, min_p: number, temperature_first: boolean, draws: number, seed: number}} Settings
 */

/**
 * Return the probabilities of the tokens that remain, most likely first.
 * @param {Float64Array} logprobs of all tokens, the most likely first
 * @param {Settings} settings
 * @returns {Float64Array}
 */
export function sampleDistribution(logprobs, { temperature, top_k, top_p, min_p, temperature_first }) {
  if (!logprobs.length || temperature === 0) return new Float64Array(Math.min(1, logprobs.length)).fill(1);
  let known = temperature_first ? scaled(logprobs, temperature) : logprobs;
  if (top_k) known = known.subarray(0, top_k);
  if (top_p < 1) {
    const shares = softmax(known);
    let sum = 0, n = 0;
    while (n < shares.length && sum < top_p) sum += shares[n++];
    known = known.subarray(0, Math.max(1, n));
  }
  if (min_p > 0) {
    const least = known[0] + Math.log(min_p);
    let n = 1;
    while (n < known.length && known[n] >= least) n++;
    known = known.subarray(0, n);
  }
  return softmax(temperature_first ? known : scaled(known, temperature));
}

/**
 * Draw tokens; return how often each was drawn.
 * @param {Float64Array} probabilities
 * @param {number} n
 * @param {number} seed
 */
export function draw(probabilities, n, seed) {
  const sums = new Float64Array(probabilities.length);
  let total = 0;
  for (let index = 0; index < sums.length; index++) sums[index] = total += probabilities[index];
  const counts = new Uint32Array(probabilities.length);
  for (let index = 0; index < n && counts.length; index++) {
    const place = uniform(seed, index) * total;
    let low = 0, high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle] < place) low = middle + 1;
      else high = middle;
    }
    counts[low]++;
  }
  return counts;
}

/** Return the random number `index` of a seed, from 0 up to 1. @param {number} seed @param {number} index */
export function uniform(seed, index) {
  let word = (Math.imul(seed, 0x9e3779b1) + Math.imul(index, 0x85ebca77) + 1) >>> 0;
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b) >>> 0;
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35) >>> 0;
  return ((word ^ (word >>> 16)) >>> 0) / 2 ** 32;
}

// Plain loops: at 150,000 tokens, `map` takes several frames.

/** @param {Float64Array} logits the highest first */
function softmax(logits) {
  const weights = new Float64Array(logits.length);
  let total = 0;
  for (let index = 0; index < weights.length; index++) total += weights[index] = Math.exp(logits[index] - logits[0]);
  for (let index = 0; index < weights.length; index++) weights[index] /= total;
  return weights;
}

/** @param {Float64Array} logits @param {number} temperature */
function scaled(logits, temperature) {
  if (temperature === 1) return logits;
  const found = new Float64Array(logits.length);
  for (let index = 0; index < found.length; index++) found[index] = logits[index] / temperature;
  return found;
}
