// What the context window holds at each turn, as `ipyllm/conversations/window_steps.py`. No DOM.

/**
 * @typedef {{question: number, answer: number, n_messages: number}} TurnSize
 * @typedef {{system: number, history: number, question: number, first: number, leftOut: number, shared: number, free: number, sent: number}} Step
 */

/**
 * @param {number} system
 * @param {TurnSize[]} turns
 * @param {number} window
 * @param {number} reserve
 * @param {number | null} [maxTokens]
 * @param {number | null} [maxMessages]
 * @returns {Step[]}
 */
export function windowSteps(system, turns, window, reserve, maxTokens = null, maxMessages = null) {
  const space = Math.min(window - reserve, maxTokens ?? Infinity);
  /** @type {Step[]} */
  const steps = [];
  for (const [index, turn] of turns.entries()) {
    const before = turns.slice(0, index);
    const first = firstThatFits(before, space - system - turn.question, maxMessages ?? Infinity);
    const history = total(before.slice(first));
    const last = steps.at(-1);
    let shared = last ? system : 0;
    if (last && last.first === first && first < index) shared = last.sent;
    const sent = system + history + turn.question;
    steps.push({ system, history, question: turn.question, first, leftOut: total(before.slice(0, first)), shared, free: window - sent, sent });
  }
  return steps;
}

/** @param {TurnSize[]} turns @param {number} space @param {number} maxMessages */
function firstThatFits(turns, space, maxMessages) {
  if (space < 0) return turns.length;
  let tokens = 0, messages = 0;
  for (let index = turns.length - 1; index >= 0; index--) {
    tokens += turns[index].question + turns[index].answer;
    messages += turns[index].n_messages;
    if (tokens > space || messages > maxMessages) return index + 1;
  }
  return 0;
}

/** @param {TurnSize[]} turns */
function total(turns) {
  return turns.reduce((sum, turn) => sum + turn.question + turn.answer, 0);
}

/** Sizes that a slider steps through: powers of two and the values between, up to the largest. @param {number} least @param {number} largest */
export function sizes(least, largest) {
  const found = [];
  for (let size = least; size < largest; size *= 2) found.push(size, ...[1.25, 1.5, 1.75].map((factor) => Math.round(size * factor)));
  return [...found.filter((size) => size < largest), largest];
}
