// The view of `SamplingExplorer`: sliders over one distribution, what they leave, and what is drawn.

import { h } from "../dom.js";
import { Bar, checkbox, legend, slider, table, textButton } from "./controls.js";
import { mount } from "./mount.js";
import { draw, sampleDistribution } from "./sampling.js";
import { counted, percent } from "./words.js";

/** @typedef {import("./sampling.js").Settings} Settings */
/** @typedef {{before: string, model: string, isWhole: boolean, texts: string[], logprobs: number[]}} Data */

const SHOWN = 12;
const MOST_TOP_K = 100;
const NEUTRAL = { temperature: 1, top_k: 0, top_p: 1, min_p: 0, temperature_first: false };
const LISTED = 8; // tokens drawn beyond the rows
const QUIET_MS = 400; // before a screen reader is told

class SamplingView {
  /** @param {Data} data @param {(settings: Partial<Settings>) => void} change */
  constructor(data, change) {
    this.data = data;
    this.logprobs = Float64Array.from(data.logprobs);
    this.recorded = sampleDistribution(this.logprobs, { ...NEUTRAL, draws: 0, seed: 0 });
    /** @type {Settings | undefined} */
    this.settings = undefined;
    this.timer = 0;
    const two = (/** @type {number} */ value) => value.toFixed(2);
    this.controls = {
      temperature: slider("Temperature", { max: 2, step: 0.05, words: (value) => value ? two(value) : "0: always the first", help: "Below 1 the likely become likelier, above 1 the unlikely" }, (temperature) => change({ temperature })),
      top_k: slider("Top-k", { max: MOST_TOP_K, step: 1, words: (value) => value ? `${value}` : "off", help: "Only so many of the most likely tokens" }, (top_k) => change({ top_k })),
      top_p: slider("Top-p", { words: (value) => value < 1 ? two(value) : "off", help: "Only the most likely tokens that together reach this probability" }, (top_p) => change({ top_p })),
      min_p: slider("Min-p", { words: (value) => value ? two(value) : "off", help: "Only tokens at least this fraction as likely as the first" }, (min_p) => change({ min_p })),
      draws: slider("Draws", { max: 1000, step: 10, words: (value) => `${value}` }, (draws) => change({ draws })),
      temperature_first: checkbox("Temperature before the filters", (temperature_first) => change({ temperature_first })),
    };
    this.order = h("span", { class: "ipyllm-footer" });
    const again = textButton("Draw again", () => this.settings && change({ seed: this.settings.seed + 1 }));
    const reset = textButton("Reset", () => change(NEUTRAL));
    this.summary = h("p", { class: "ipyllm-tsum" });
    this.live = h("p", { class: "ipyllm-away", role: "status" });
    this.beyond = h("p", { class: "ipyllm-footer" });
    const { element, head, body } = table("The most likely tokens, and what the settings make of them", ["Token", "", "Recorded", "Now", "Drawn"]);
    head.children[1].replaceWith(h("td", { class: "bar" }));
    head.children[2].classList.add("roomy");
    this.drawnHead = head.lastElementChild;
    const shown = Math.min(SHOWN, data.texts.length);
    /** @type {{row: HTMLElement, bar: Bar, now: HTMLElement, drawn: HTMLElement, recorded: number}[]} */
    this.rows = [];
    for (let index = 0; index < shown; index++) this.addRow(body, data.texts[index], this.recorded[index], "ipyllm-ttoken");
    const others = data.texts.length - shown;
    if (others) this.addRow(body, `${others.toLocaleString("en")} others`, sum(this.recorded, shown), "");
    this.element = h("section", { "aria-label": "Sampling explorer" },
      h("p", { class: "ipyllm-ttitle" }, "Next token after ", h("q", {}, data.before || "(the beginning of the answer)"), " ", h("small", {}, data.model)),
      h("form", { class: "ipyllm-tform", submit: (/** @type {Event} */ event) => event.preventDefault() },
        ...["temperature", "top_k", "top_p", "min_p"].map((name) => /** @type {any} */ (this.controls)[name].element),
        h("div", { class: "ipyllm-trow" }, this.controls.temperature_first.element, this.order),
        this.controls.draws.element,
        h("div", { class: "ipyllm-trow" }, again, reset)),
      this.summary, this.live, element, this.beyond,
      legend([["solid", "with these settings"], ["light", "recorded"], ["gone", "removed"]]));
    if (!data.isWhole) this.element.append(h("p", { class: "ipyllm-footer" }, "The server told only these tokens: the others are left out, and the probabilities add up to 100 % without them."));
  }

  /** @param {HTMLElement} body @param {string} label @param {number} recorded @param {string} kind */
  addRow(body, label, recorded, kind) {
    const bar = new Bar(2);
    const now = h("td"), drawn = h("td");
    const row = h("tr", {}, h("th", { scope: "row", class: kind }, label), h("td", { class: "bar" }, bar.element), h("td", { class: "roomy" }, percent(recorded)), now, drawn);
    this.rows.push({ row, bar, now, drawn, recorded });
    body.append(row);
  }

  /** @param {Settings} settings */
  show(settings) {
    this.settings = settings;
    const kept = sampleDistribution(this.logprobs, settings);
    const drawn = draw(kept, settings.draws, settings.seed);
    for (const [name, control] of Object.entries(this.controls)) control.set(/** @type {never} */ (/** @type {any} */ (settings)[name]));
    this.order.textContent = `Order: ${settings.temperature_first ? "temperature, top-k, top-p, min-p (Transformers)" : "top-k, top-p, min-p, temperature (llama.cpp)"}`;
    const shown = Math.min(SHOWN, this.data.texts.length);
    for (const [index, { row, bar, now, drawn: cell, recorded }] of this.rows.entries()) {
      const isRest = index >= shown;
      const isKept = kept.length > index;
      const value = isRest ? sum(kept, shown) : kept[index] ?? 0;
      const n = isRest ? sum(drawn, shown) : drawn[index] ?? 0;
      row.classList.toggle("removed", !isKept);
      bar.set(isKept ? [{ tone: "solid", start: 0, length: value }, { tone: "light", start: 0, length: recorded, thin: true }] : [{ tone: "gone", start: 0, length: recorded }]);
      now.textContent = isKept ? percent(value) : "removed";
      cell.textContent = n ? `${n}×` : "–";
    }
    const share = percent(sum(this.recorded.subarray(0, kept.length), 0));
    const remain = kept.length === 1 ? "remains; the model gave it" : "remain; the model gave them";
    this.summary.textContent = `${kept.length.toLocaleString("en")} of ${counted(this.data.texts.length, "token")}${this.data.isWhole ? "" : " that the server told"} ${remain} ${share}.`;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.live.textContent = this.summary.textContent), QUIET_MS);
    this.drawnHead.textContent = `Drawn, seed ${settings.seed}`;
    const beyond = [];
    for (let index = shown; index < drawn.length; index++) if (drawn[index]) beyond.push(index);
    const listed = beyond.slice(0, LISTED).map((index) => this.data.texts[index]).join("  ");
    this.beyond.textContent = beyond.length ? `Drawn among the others: ${listed}${beyond.length > LISTED ? ` and ${beyond.length - LISTED} more` : ""}` : "";
  }

  close() {
    clearTimeout(this.timer);
  }
}

/** @param {Float64Array | Uint32Array} values @param {number} from */
function sum(values, from) {
  let total = 0;
  for (let index = from; index < values.length; index++) total += values[index];
  return total;
}

/** @param {{ model: import("../commands.js").Model, el: HTMLElement }} context */
function render(context) {
  return mount(context, (data, change) => new SamplingView(data, change));
}

export default { render };
