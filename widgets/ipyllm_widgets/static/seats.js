// Who is compared: the models, each with parameters of its own.

import { button, h } from "./dom.js";

/** @typedef {{model: string, params: Record<string, unknown>}} SeatSettings */

let seatLists = 0;

/** Shows the models that are compared and sends what a person changes. */
export class Seats {
  /**
   * @param {(seats: SeatSettings[]) => Promise<string | null>} change resolves with what is wrong, or null
   * @param {(sentence: string) => void} complain
   */
  constructor(change, complain) {
    this.change = change;
    this.complain = complain;
    this.listId = `ipyllm-offers-${++seatLists}`;
    this.options = h("datalist", { id: this.listId });
    // Rows are not replaced under the hands of somebody who types: what came meanwhile is drawn when they leave.
    this.rows = h("div", { class: "ipyllm-seats", focusout: () => setTimeout(() => this.draw()) });
    this.more = h("button", { type: "button", class: "ipyllm-button", click: () => this.add() }, "Add a model");
    this.element = h("div", { class: "ipyllm-who" }, this.options, this.rows, this.more);
    /** @type {SeatSettings[]} */
    this.known = [];
    this.shown = "";
    this.pending = 0;
    this.rejected = false; // what stands here is not what the kernel has: it would be asked of others
  }

  /** @param {unknown} seats @param {unknown} offers */
  update(seats, offers) {
    this.known = seatsOf(seats);
    const names = Array.isArray(offers) ? offers : [];
    if (String(names) !== this.offers) this.options.replaceChildren(...names.map((value) => h("option", { value })));
    this.offers = String(names);
    this.draw();
  }

  draw() {
    const now = JSON.stringify(this.known);
    if (now === this.shown || this.pending || this.rejected || this.rows.matches(":focus-within")) return;
    this.shown = now;
    this.rows.replaceChildren(...this.known.map((seat) => this.row(seat)));
  }

  /** @param {SeatSettings} seat */
  row({ model, params }) {
    const change = (/** @type {Event} */ event) => this.tell(/** @type {HTMLElement} */ (event.target));
    const name = h("input", { class: "ipyllm-input", list: this.listId, value: model, "aria-label": "Model", placeholder: "service/model", spellcheck: "false", autocomplete: "off", change });
    const own = Object.entries(params).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(" ");
    const given = h("input", { class: "ipyllm-input", value: own, "aria-label": `Parameters of ${model || "this model"} alone`, placeholder: "own parameters", title: "Parameters of this model alone, like temperature=1", spellcheck: "false", autocomplete: "off", change });
    const row = h("div", { class: "ipyllm-seat" }, name, given, button("close", `Take ${model || "this model"} out`, () => {
      row.remove();
      this.more.focus();
      this.tell();
    }));
    return row;
  }

  add() {
    this.rows.append(this.row({ model: "", params: {} }));
    this.rows.lastElementChild?.querySelector("input")?.focus();
  }

  /** @param {HTMLElement} [changed] */
  async tell(changed) {
    const seats = this.read();
    this.pending += 1;
    const wrong = typeof seats === "string" ? seats : await this.change(seats);
    this.pending -= 1;
    if (typeof seats === "string") this.complain(seats);
    this.rejected = wrong !== null;
    if (this.rejected) changed?.setAttribute("aria-invalid", "true"); // and it stays, to be mended
    else for (const input of this.rows.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    this.shown = ""; // whatever the kernel makes of it is shown
    this.draw();
  }

  /** @returns {SeatSettings[] | string} what stands here, or what is wrong with it */
  read() {
    const seats = [];
    for (const row of this.rows.children) {
      const [name, given] = row.querySelectorAll("input");
      if (!name.value.trim()) continue;
      const params = readParams(given.value);
      if (typeof params === "string") return params;
      seats.push({ model: name.value.trim(), params });
    }
    return seats;
  }
}

/**
 * @param {unknown} told
 * @returns {SeatSettings[]} what can be shown of it
 */
export function seatsOf(told) {
  if (!Array.isArray(told)) return [];
  const isObject = (/** @type {unknown} */ value) => typeof value === "object" && value !== null && !Array.isArray(value);
  return told
    .filter((seat) => typeof seat?.model === "string")
    .map(({ model, params }) => ({ model, params: isObject(params) ? params : {} }));
}

/**
 * @param {string} text `key=value` pairs, values as JSON or as plain words
 * @returns {Record<string, unknown> | string} the parameters, or what is wrong
 */
export function readParams(text) {
  /** @type {[string, unknown][]} */
  const params = [];
  for (const pair of text.match(/[^\s=]+=(?:"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\{[^}]*\}|[^\s]*)|\S+/g) ?? []) {
    const at = pair.indexOf("=");
    if (at < 1 || at === pair.length - 1) return `Parameters are written name=value, like temperature=1, not ${pair}.`;
    const name = pair.slice(0, at), value = pair.slice(at + 1);
    try {
      params.push([name, JSON.parse(value)]);
    } catch {
      params.push([name, value]);
    }
  }
  return Object.fromEntries(params);
}
