// The list of compared models, each with its own parameters.

import { button, h, icon } from "../dom.js";
import { menuButton } from "../menu.js";

/** @typedef {{model: string, params: Record<string, unknown>}} ArmSettings */

let listCount = 0;

/** Shows the compared models and sends changes. */
export class ModelList {
  /**
   * @param {(arms: ArmSettings[]) => Promise<string | null>} change resolves with the error, or null
   * @param {(message: string) => void} showError
   */
  constructor(change, showError) {
    this.change = change;
    this.showError = showError;
    this.listId = `ipyllm-compare-models-${++listCount}`;
    this.options = h("datalist", { id: this.listId });
    // Rows with the focus are not replaced: changes are drawn when the focus leaves.
    this.rows = h("div", { class: "ipyllm-arms", focusout: () => setTimeout(() => this.draw()) });
    this.addButton = h("button", { type: "button", class: "ipyllm-button", click: () => this.add() }, "Add a model");
    this.element = h("div", { class: "ipyllm-arm-list" }, this.options, this.rows, this.addButton);
    /** @type {ArmSettings[]} */
    this.kernelArms = [];
    /** @type {string[]} */
    this.names = [];
    this.shown = "";
    this.pending = 0;
    this.rejected = false; // the shown rows differ from those of the kernel, which would ask other models
  }

  /** @param {unknown} arms @param {unknown} models */
  update(arms, models) {
    this.kernelArms = armsOf(arms);
    const names = Array.isArray(models) ? models : [];
    if (String(names) !== String(this.names)) {
      this.names = names;
      this.options.replaceChildren(...names.map((value) => h("option", { value })));
      for (const row of this.rows.children) row.querySelector(".ipyllm-menu-frame").setItems(this.items);
    }
    this.draw();
  }

  get items() {
    return Object.fromEntries(this.names.map((name) => [name, name]));
  }

  draw() {
    const current = JSON.stringify(this.kernelArms);
    if (current === this.shown || this.pending || this.rejected || this.rows.matches(":focus-within")) return;
    this.shown = current;
    this.rows.replaceChildren(...this.kernelArms.map((arm) => this.row(arm)));
  }

  /** @param {ArmSettings} settings */
  row({ model, params }) {
    const change = (/** @type {Event} */ event) => this.send(/** @type {HTMLElement} */ (event.target));
    const name = h("input", { class: "ipyllm-input", list: this.listId, value: model, "aria-label": "Model", placeholder: "service/model", spellcheck: "false", autocomplete: "off", change });
    // The field's own list has only the names that contain what is in it.
    const models = menuButton(model ? `Models in place of ${model}` : "Models", this.items, (chosen) => {
      name.value = chosen;
      this.send(name);
    }, icon("down"));
    models.setCurrent(model);
    const own = Object.entries(params).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(" ");
    const paramsInput = h("input", { class: "ipyllm-input", value: own, "aria-label": `Parameters of ${model || "this model"} alone`, placeholder: "own parameters", title: "Parameters of this model alone, like temperature=1", spellcheck: "false", autocomplete: "off", change });
    const row = h("div", { class: "ipyllm-arm" }, name, models, paramsInput, button("close", `Remove ${model || "this model"}`, () => {
      row.remove();
      this.addButton.focus();
      this.send();
    }));
    return row;
  }

  add() {
    this.rows.append(this.row({ model: "", params: {} }));
    this.rows.lastElementChild?.querySelector("input")?.focus();
  }

  /** @param {HTMLElement} [changed] */
  async send(changed) {
    const arms = this.read();
    this.pending += 1;
    const error = typeof arms === "string" ? arms : await this.change(arms);
    this.pending -= 1;
    if (typeof arms === "string") this.showError(arms);
    this.rejected = error !== null;
    if (this.rejected) changed?.setAttribute("aria-invalid", "true"); // it stays, to be corrected
    else for (const input of this.rows.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    this.shown = ""; // redraw, even if the kernel's list is the same as before
    this.draw();
  }

  /** @returns {ArmSettings[] | string} the rows, or the error */
  read() {
    const arms = [];
    for (const row of this.rows.children) {
      const [name, paramsInput] = row.querySelectorAll("input");
      if (!name.value.trim()) continue;
      const params = readParams(paramsInput.value);
      if (typeof params === "string") return params;
      arms.push({ model: name.value.trim(), params });
    }
    return arms;
  }
}

/**
 * @param {unknown} value
 * @returns {ArmSettings[]} the valid items
 */
export function armsOf(value) {
  if (!Array.isArray(value)) return [];
  const isObject = (/** @type {unknown} */ item) => typeof item === "object" && item !== null && !Array.isArray(item);
  return value
    .filter((arm) => typeof arm?.model === "string")
    .map(({ model, params }) => ({ model, params: isObject(params) ? params : {} }));
}

/**
 * @param {string} text `key=value` pairs; values are JSON or plain words
 * @returns {Record<string, unknown> | string} the parameters, or the error
 */
export function readParams(text) {
  /** @type {[string, unknown][]} */
  const params = [];
  for (const pair of text.match(/[^\s=]+=(?:"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\{[^}]*\}|[^\s]*)|\S+/g) ?? []) {
    const equals = pair.indexOf("=");
    if (equals < 1 || equals === pair.length - 1) return `Parameters must have the form name=value, such as temperature=1, not ${pair}.`;
    const name = pair.slice(0, equals), value = pair.slice(equals + 1);
    try {
      params.push([name, JSON.parse(value)]);
    } catch {
      params.push([name, value]);
    }
  }
  return Object.fromEntries(params);
}
