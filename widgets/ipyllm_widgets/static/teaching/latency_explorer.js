// The view of `LatencyExplorer`: calls as time lines under one another, and a moment that moves through them.

import { h } from "../dom.js";
import { Bar, choice, legend, slider, table, textButton } from "./controls.js";
import { mount } from "./mount.js";
import { doing, ordered } from "./timeline.js";
import { seconds } from "./words.js";

/** @typedef {{order: string, time: number}} Settings */
/**
 * @typedef {{calls: import("./timeline.js").Call[], phases: Record<string, {words: string, tone: string}>,
 *   orders: Record<string, string>, label: string, longest: number}} Data
 */

const STEPS = 400;

class LatencyView {
  /** @param {Data} data @param {(settings: Partial<Settings>) => void} change */
  constructor(data, change) {
    this.data = data;
    this.change = change;
    this.time = data.longest;
    this.frame = 0;
    this.order = choice("Order", data.orders, (order) => change({ order }));
    this.slider = slider("Moment", { max: data.longest, step: data.longest / STEPS, words: seconds }, (time) => {
      this.stop();
      change({ time });
    });
    this.play = textButton("Play", () => (this.frame ? this.stop() : this.start()));
    const { element, body } = table("Calls, with their phases", [data.label === "model" ? "Model" : data.label, "Time line", "First token", "Total", "Tokens", "Tokens/s"]);
    const heads = element.querySelectorAll("thead th");
    heads[1].classList.add("bar");
    for (const index of [4, 5]) heads[index].classList.add("wide");
    this.body = body;
    this.shownOrder = "";
    /** @type {Map<import("./timeline.js").Call, {row: HTMLElement, edge: HTMLElement, now: HTMLElement}>} */
    this.rows = new Map(data.calls.map((call) => [call, this.row(call)]));
    const used = Object.keys(data.phases).filter((name) => data.calls.some((call) => call.phases.some(([each]) => each === name)));
    this.element = h("section", { "aria-label": "Latency explorer" },
      h("p", { class: "ipyllm-ttitle" }, "Where the time of a call goes"),
      h("form", { class: "ipyllm-tform", submit: (/** @type {Event} */ event) => event.preventDefault() },
        this.slider.element, h("div", { class: "ipyllm-trow" }, this.play, this.order.element)),
      element, legend(used.map((name) => [data.phases[name].tone, data.phases[name].words])));
  }

  /** @param {import("./timeline.js").Call} call */
  row(call) {
    const bar = new Bar(call.phases.length), edge = h("b", { class: "edge" });
    bar.set(call.phases.map(([name, start, length]) => ({ tone: this.data.phases[name].tone, start: start / this.data.longest, length: length / this.data.longest })));
    bar.element.append(edge);
    bar.element.title = call.phases.map(([name, , length]) => `${this.data.phases[name].words} ${seconds(length)}`).join("\n");
    const now = h("span", { class: "ipyllm-tnow" });
    const [, first, , total, tokens, speed, remarks] = call.cells;
    const name = h("th", { scope: "row", class: "ipyllm-ttext", title: call.prompt }, call.label);
    if (remarks !== "–") name.append(h("small", {}, remarks));
    const said = h("span", { class: "ipyllm-away" }, call.phases.map(([each, , length]) => `${this.data.phases[each].words} ${seconds(length)}`).join(", ") + ". Now: ");
    const row = h("tr", {}, name, h("td", { class: "bar" }, bar.element, said, now), h("td", {}, first), h("td", {}, total), h("td", { class: "wide" }, tokens), h("td", { class: "wide" }, speed));
    return { row, edge, now };
  }

  /** @param {Settings} settings */
  show({ order, time }) {
    this.time = time;
    this.order.set(order);
    this.slider.set(time);
    if (order !== this.shownOrder) {
      this.shownOrder = order;
      this.body.append(...ordered(this.data.calls, order).map((call) => /** @type {any} */ (this.rows.get(call)).row));
    }
    for (const [call, { edge, now }] of this.rows) {
      edge.style.insetInlineStart = `${(100 * time) / this.data.longest}%`;
      now.textContent = doing(call, time);
    }
  }

  start() {
    this.play.textContent = "Pause";
    const from = this.time >= this.data.longest ? 0 : this.time;
    const began = performance.now();
    const step = () => {
      const time = Math.min(from + (performance.now() - began) / 1000, this.data.longest);
      this.change({ time });
      if (time < this.data.longest) this.frame = requestAnimationFrame(step);
      else this.stop();
    };
    this.frame = requestAnimationFrame(step);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.play.textContent = "Play";
  }

  close() {
    this.stop();
  }
}

/** @param {{ model: import("../commands.js").Model, el: HTMLElement }} context */
function render(context) {
  return mount(context, (data, change) => new LatencyView(data, change));
}

export default { render };
