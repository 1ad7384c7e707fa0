// The tooltips of the charts: the values of one interval, under the pointer or chosen by arrow keys.

import { h } from "../dom.js";

/**
 * @typedef {{models: [string, string][], tips: [number, string, [number, string][]][]}} ChartData models with their colours; of each
 *   interval with values the place from 0 to 1, the time, and its values by the index of the model
 */

/** Shows the values of the charts in a section whose content is replaced now and then. */
export class ChartTips {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.status = h("p", { class: "ipyllm-unseen", role: "status" });
    this.tip = h("div", { class: "tip", "aria-hidden": "true" });
    this.line = h("div", { class: "tip-line", "aria-hidden": "true" });
    this.at = -1;
    /** @type {ChartData | null} */
    this.data = null;
    /** @type {HTMLElement | null} */
    this.plot = null;
    section.addEventListener("pointermove", (event) => this.onPointer(event));
    section.addEventListener("pointerdown", (event) => this.onPointer(event));
    section.addEventListener("pointerleave", () => !this.plot?.matches(":focus") && this.hide());
    section.addEventListener("focusin", (event) => {
      const plot = plotOf(event.target);
      if (plot?.matches(":focus-visible")) this.show(plot, Infinity, true);
    });
    section.addEventListener("focusout", () => this.hide());
    section.addEventListener("keydown", (event) => this.onKey(event));
  }

  /** @param {PointerEvent} event */
  onPointer(event) {
    const plot = plotOf(event.target);
    if (!plot) return this.plot?.matches(":focus") ? undefined : this.hide();
    const box = plot.getBoundingClientRect();
    const data = dataOf(plot);
    if (data) this.show(plot, nearest(data.tips.map(([place]) => place), (event.clientX - box.left) / box.width), false);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const plot = plotOf(event.target);
    if (!plot || event.ctrlKey || event.metaKey || event.altKey) return;
    /** @type {Record<string, number>} */
    const targets = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: Infinity };
    if (event.key in targets) this.show(plot, targets[event.key], true);
    else if (event.key === "Escape" && this.plot) this.hide();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {HTMLElement} plot @param {number} at number of the interval @param {boolean} announced to screen readers */
  show(plot, at, announced) {
    const data = plot === this.plot ? this.data : dataOf(plot);
    if (!data?.tips.length) return;
    this.at = Math.max(0, Math.min(at, data.tips.length - 1));
    this.plot = plot;
    this.data = data;
    const [place, time, values] = data.tips[this.at];
    this.tip.replaceChildren(h("b", {}, time), ...values.map(([model, value]) => {
      const [name, colour] = data.models[model];
      const swatch = h("i");
      swatch.style.background = colour;
      return h("span", {}, swatch, h("span", { dir: "auto" }, name), h("b", {}, value));
    }));
    this.line.style.insetInlineStart = `${place * 100}%`;
    this.tip.style.setProperty(place > 0.5 ? "right" : "left", `${(place > 0.5 ? 1 - place : place) * 100 + 2}%`);
    this.tip.style.maxWidth = `${Math.max(place, 1 - place) * 100 - 3}%`; // inside the chart: an output cuts off what overflows
    this.tip.style.removeProperty(place > 0.5 ? "left" : "right");
    plot.append(this.line, this.tip);
    if (announced) this.status.textContent = [time, ...values.map(([model, value]) => `${data.models[model][0]}: ${value}`)].join(", ");
  }

  hide() {
    this.tip.remove();
    this.line.remove();
    this.plot = null;
    this.status.textContent = "";
  }

  /** Replace the content by a function, and show the same again. @param {() => void} replace */
  keep(replace) {
    const plots = () => /** @type {HTMLElement[]} */ ([...this.section.querySelectorAll(".plot")]);
    const which = this.plot ? plots().indexOf(this.plot) : -1, focused = Boolean(this.plot?.matches(":focus")), at = this.at;
    this.plot = null;
    replace();
    const plot = plots()[which];
    if (!plot) return this.hide();
    if (focused) plot.focus({ preventScroll: true });
    this.show(plot, at, false);
  }
}

/** @param {EventTarget | null} target @returns {HTMLElement | null} */
function plotOf(target) {
  return target instanceof Element ? target.closest(".plot") : null;
}

/** @param {HTMLElement} plot @returns {ChartData | null} */
function dataOf(plot) {
  try {
    return JSON.parse(plot.dataset.values ?? "null");
  } catch {
    return null;
  }
}

/** @param {number[]} places ascending @param {number} place @returns {number} the index of the nearest */
export function nearest(places, place) {
  return places.reduce((best, other, at) => (Math.abs(other - place) < Math.abs(places[best] - place) ? at : best), 0);
}
