// How far calls are at a moment, and their order. No DOM.

/**
 * @typedef {[string, number, number]} Phase name, start, length, in seconds
 * @typedef {{label: string, rank: number, phases: Phase[], cells: string[], total: number, first: number, tokens: number | null, failed: string, prompt: string}} Call
 */

/** Return the calls in an order. @param {Call[]} calls @param {string} order */
export function ordered(calls, order) {
  const sorted = [...calls];
  if (order === "model") sorted.sort((a, b) => a.rank - b.rank);
  if (order === "first") sorted.sort((a, b) => a.first - b.first);
  if (order === "total") sorted.sort((a, b) => a.total - b.total);
  return sorted;
}

/** Return what a call does at a moment, in words. @param {Call} call @param {number} time */
export function doing(call, time) {
  if (time >= call.total) return call.failed || (call.tokens === null ? "done" : `done, ${call.tokens.toLocaleString("en")} tokens`);
  const [name, start, length] = call.phases.find(([, begin, lasts]) => time < begin + lasts) ?? ["end", 0, 0];
  if (name === "answer" && call.tokens !== null) {
    return `writing, about ${Math.floor((call.tokens * (time - start)) / length).toLocaleString("en")} of ${call.tokens.toLocaleString("en")} tokens`;
  }
  return DOING[/** @type {keyof typeof DOING} */ (name)] ?? name;
}

const DOING = { queue: "in our queue", retries: "trying again", send: "sending", wait: "waiting for the first token", thinking: "thinking", answer: "writing", end: "closing" };
