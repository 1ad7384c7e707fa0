// The view of `ContextExplorer`: what each request of a conversation held, in a window of any size.

import { h } from "../dom.js";
import { Bar, legend, slider, table } from "./controls.js";
import { mount } from "./mount.js";
import { counted } from "./words.js";
import { sizes, windowSteps } from "./window_steps.js";

/** @typedef {{window: number, reserve: number, turn: number}} Settings */
/**
 * @typedef {{model: string, system: number, turns: import("./window_steps.js").TurnSize[], questions: string[],
 *   counted: [number | null, number | null][], earlier: number, largest: number, maxTokens: number | null, maxMessages: number | null}} Data
 */

const SMALLEST = 64;

class ContextView {
  /** @param {Data} data @param {(settings: Partial<Settings>) => void} change */
  constructor(data, change) {
    this.data = data;
    this.windows = sizes(SMALLEST, data.largest);
    this.window = data.largest;
    const tokens = (/** @type {number} */ value) => `${value.toLocaleString("en")} tokens`;
    // The room for the answer is a share of the window, so that it fits any.
    this.shares = [0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90].map((share) => share / 100);
    this.windowSlider = slider("Window", { values: this.windows, words: tokens, help: "Size of the context window" }, (window) => {
      const reserve = Math.min(this.reserve, Math.floor(window / 2));
      change({ window, reserve });
    });
    this.reserve = 0;
    this.reserveSlider = slider("Reserve", { values: this.shares, words: () => tokens(this.reserve), help: "Room that is kept for the answer" }, (share) => {
      this.reserve = Math.floor(share * this.window);
      change({ reserve: this.reserve });
    });
    const turns = data.turns.map((_, index) => index + 1).slice(data.earlier);
    this.turnSlider = slider("Turn", { values: turns, words: (turn) => `${turn} of ${data.turns.length}` }, (turn) => change({ turn }));
    const { element, body } = table("What was sent with each question", ["Question", "", "Sent", "Left out", "Free", "Server counted"]);
    element.querySelectorAll("thead th")[1].replaceWith(h("td", { class: "bar" }));
    element.querySelectorAll("thead th")[4]?.classList.add("wide");
    /** @type {{row: HTMLElement, bar: Bar, edge: HTMLElement, cells: HTMLElement[]}[]} */
    this.rows = data.questions.map((question, index) => {
      const bar = new Bar(6), edge = h("b", { class: "edge" });
      bar.element.append(edge);
      const cells = [h("td"), h("td"), h("td")];
      const [input, cached] = data.counted[index];
      const told = input === null ? "–" : `${input.toLocaleString("en")}${cached === null ? "" : `, ${cached.toLocaleString("en")} cached`}`;
      const row = h("tr", {}, h("th", { scope: "row", class: "ipyllm-ttext", title: question }, `${data.earlier + index + 1}. ${question}`), h("td", { class: "bar" }, bar.element), ...cells, h("td", { class: "wide" }, told));
      body.append(row);
      return { row, bar, edge, cells };
    });
    this.summary = h("p", { class: "ipyllm-tsum", role: "status" });
    this.element = h("section", { "aria-label": "Context explorer" },
      h("p", { class: "ipyllm-ttitle" }, "Context window, turn by turn ", h("small", {}, data.model)),
      h("form", { class: "ipyllm-tform", submit: (/** @type {Event} */ event) => event.preventDefault() },
        this.windowSlider.element, this.reserveSlider.element, ...(turns.length > 1 ? [this.turnSlider.element] : [])),
      this.summary, element,
      legend([["cross", "system message"], ["solid", "earlier turns"], ["stripes", "question"], ["light", "kept for the answer"], ["gone", "left out"], ["dots", "same beginning as the request before (a server may have it cached)"]]),
      h("p", { class: "ipyllm-footer" }, "Tokens are upper estimates, by which ipyllm trims. The line is the end of the window."));
  }

  /** @param {Settings} settings */
  show({ window, reserve, turn }) {
    const { system, turns, maxTokens, maxMessages, earlier } = this.data;
    Object.assign(this, { window, reserve });
    this.windowSlider.set(window);
    this.reserveSlider.set(reserve / window);
    this.turnSlider.set(turn);
    const steps = windowSteps(system, turns, window, reserve, maxTokens, maxMessages).slice(earlier);
    const scale = 1 / Math.max(...steps.map((step) => Math.max(window, step.sent) + step.leftOut));
    for (const [index, { row, bar, edge, cells }] of this.rows.entries()) {
      const step = steps[index];
      const isAhead = earlier + index + 1 > turn;
      row.classList.toggle("current", earlier + index + 1 === turn);
      row.classList.toggle("ahead", isAhead);
      if (earlier + index + 1 === turn) row.setAttribute("aria-current", "step");
      else row.removeAttribute("aria-current");
      let start = 0;
      const pieces = [["cross", step.system], ["solid", step.history], ["stripes", step.question]].map(([tone, tokens]) => {
        const piece = { tone: String(tone), start, length: Number(tokens) * scale };
        start += piece.length;
        return piece;
      });
      const end = Math.max(window * scale, start);
      bar.set([...pieces,
        { tone: "light", start: Math.max((window - reserve) * scale, start), length: Math.max(0, window * scale - Math.max((window - reserve) * scale, start)) },
        { tone: "gone", start: end, length: step.leftOut * scale },
        { tone: "dots", start: 0, length: step.shared * scale, thin: true }]);
      edge.style.insetInlineStart = `${100 * window * scale}%`;
      cells[0].textContent = step.sent.toLocaleString("en");
      cells[1].textContent = step.first ? `${step.leftOut.toLocaleString("en")} (${counted(step.first, "turn")})` : "–";
      cells[2].textContent = step.free < 0 ? `${(-step.free).toLocaleString("en")} too many` : step.free.toLocaleString("en");
    }
    this.summary.textContent = said(steps[turn - earlier - 1], turn);
  }
}

/** Say in a sentence what a request held. @param {import("./window_steps.js").Step} step @param {number} turn */
function said(step, turn) {
  const tokens = (/** @type {number} */ n) => counted(n, "token");
  if (step.free < 0) return `Turn ${turn} does not fit: its question and the system message are ${tokens(-step.free)} too many.`;
  const left = step.first ? `${counted(step.first, "turn")} (${tokens(step.leftOut)}) left out` : "nothing left out";
  const shared = step.shared ? `, the first ${tokens(step.shared)} as in the request before` : "";
  return `Turn ${turn}: ${tokens(step.sent)} sent${shared}; ${left}; ${tokens(step.free)} free for the answer.`;
}

/** @param {{ model: import("../commands.js").Model, el: HTMLElement }} context */
function render(context) {
  return mount(context, (data, change) => new ContextView(data, change));
}

export default { render };
