// Who is compared: the models, each with parameters of its own.

import { button, h } from "./dom.js";

/** @typedef {{model: string, params: Record<string, unknown>}} SeatSettings */

let seatLists = 0;

/** Shows the models that are compared and sends what a person changes. */
export class Seats {
  /** @param {(seats: SeatSettings[]) => void} change @param {(sentence: string) => void} complain */
  constructor(change, complain) {
    this.change = change;
    this.complain = complain;
    this.listId = `ipyllm-offers-${++seatLists}`;
    this.options = h("datalist", { id: this.listId });
    this.rows = h("div", { class: "ipyllm-seats" });
    const add = h("button", { type: "button", class: "ipyllm-button", click: () => this.add() }, "Add a model");
    this.element = h("div", { class: "ipyllm-who" }, this.options, this.rows, add);
    this.shown = "";
  }

  /** @param {SeatSettings[]} seats @param {string[]} offers */
  update(seats, offers) {
    const now = JSON.stringify([seats, offers]);
    if (now === this.shown) return;
    this.shown = now;
    this.options.replaceChildren(...offers.map((value) => h("option", { value })));
    const focused = [...this.rows.querySelectorAll("input")].indexOf(/** @type {any} */ (document.activeElement));
    this.rows.replaceChildren(...seats.map((seat) => this.row(seat)));
    if (focused >= 0) this.rows.querySelectorAll("input")[focused]?.focus();
  }

  /** @param {SeatSettings} seat */
  row({ model, params }) {
    const name = h("input", { class: "ipyllm-input", list: this.listId, value: model, "aria-label": "Model", placeholder: "service/model", spellcheck: "false", autocomplete: "off", change: () => this.tell() });
    const own = Object.entries(params).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(" ");
    const given = h("input", { class: "ipyllm-input", value: own, "aria-label": `Parameters of ${model || "this model"} alone`, placeholder: "temperature=1", spellcheck: "false", autocomplete: "off", change: () => this.tell() });
    const row = h("div", { class: "ipyllm-seat" }, name, given, button("close", `Take ${model || "this model"} out`, () => {
      row.remove();
      this.tell();
    }));
    return row;
  }

  add() {
    this.rows.append(this.row({ model: "", params: {} }));
    this.rows.lastElementChild?.querySelector("input")?.focus();
  }

  tell() {
    const seats = [];
    for (const row of this.rows.children) {
      const [name, given] = row.querySelectorAll("input");
      if (!name.value.trim()) continue;
      const params = readParams(given.value);
      if (typeof params === "string") return this.complain(params);
      seats.push({ model: name.value.trim(), params });
    }
    this.shown = ""; // whatever the kernel makes of it is shown
    this.change(seats);
  }
}

/**
 * @param {string} text `key=value` pairs, values as JSON or as plain words
 * @returns {Record<string, unknown> | string} the parameters, or what is wrong
 */
export function readParams(text) {
  /** @type {Record<string, unknown>} */
  const params = {};
  for (const pair of text.match(/[^\s=]+=(?:"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\{[^}]*\}|[^\s]*)|\S+/g) ?? []) {
    const at = pair.indexOf("=");
    if (at < 1 || at === pair.length - 1) return `Parameters are written name=value, like temperature=1, not ${pair}.`;
    const value = pair.slice(at + 1);
    try {
      params[pair.slice(0, at)] = JSON.parse(value);
    } catch {
      params[pair.slice(0, at)] = value;
    }
  }
  return params;
}
