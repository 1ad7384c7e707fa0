// The settings of a question: model picker, system prompt, parameters.

import { h } from "./dom.js";
import { menuButton } from "./menu.js";

/** @typedef {import("./reducer.js").ViewSettings} ViewSettings */

/** @type {[string, string, Record<string, any>][]} */
const FIELDS = [
  ["temperature", "Temperature", { type: "number", min: 0, max: 2, step: "any", placeholder: "default" }],
  ["top_p", "Top p", { type: "number", min: 0, max: 1, step: "any", placeholder: "default" }],
  ["max_tokens", "Max tokens", { type: "number", min: 1, step: 1, placeholder: "default" }],
  ["seed", "Seed", { type: "number", step: 1, placeholder: "none" }],
];
let panelCount = 0;

/** Shows the settings and sends changes. */
export class SettingsPanel {
  /**
   * @param {(changes: Record<string, unknown>) => Promise<string | null>} change shows an error elsewhere
   * @param {(params: Record<string, unknown>) => Promise<string | null>} changeParams resolves with the error, or null
   */
  constructor(change, changeParams) {
    this.pending = 0; // changes that the kernel has not acknowledged yet
    const counted = (/** @type {(changes: Record<string, unknown>) => Promise<string | null>} */ send) => async (/** @type {Record<string, unknown>} */ changes) => {
      this.pending += 1;
      try {
        return await send(changes);
      } finally {
        this.pending -= 1;
      }
    };
    this.change = counted(change);
    this.sendParams = counted(changeParams);
    const id = `ipyllm-models-${++panelCount}`;
    /** @type {ViewSettings | null} */
    this.shown = null;
    this.options = h("datalist", { id });
    this.model = h("input", {
      class: "ipyllm-input ipyllm-model",
      list: id,
      "aria-label": "Model",
      placeholder: "service/model",
      spellcheck: "false",
      autocomplete: "off",
      change: () => this.change({ model: this.model.value.trim() }),
      // The list shows only what matches the text: with the text selected, typing starts with the full list.
      focus: () => this.model.select(),
    });
    this.models = menuButton("Models", {}, (model) => {
      this.model.value = model;
      this.change({ model });
    });
    this.models.hidden = true;
    this.systemLabel = h("span", {}, "System prompt");
    this.system = h("textarea", { class: "ipyllm-input", rows: 3, dir: "auto", placeholder: "How the model should behave", change: () => this.change({ system: this.system.value }) });
    /** @type {Record<string, HTMLInputElement>} */
    this.fields = {};
    const rows = FIELDS.map(([name, label, props]) => {
      this.fields[name] = h("input", { class: "ipyllm-input", ...props, change: () => this.changeParams(this.fields[name]) });
      return h("label", {}, h("span", {}, label), this.fields[name]);
    });
    this.effort = h("select", { class: "ipyllm-input", change: () => this.changeParams(this.effort) });
    this.effortRow = h("label", { hidden: true }, h("span", {}, "Effort"), this.effort);
    this.other = h("input", { class: "ipyllm-input", spellcheck: "false", placeholder: '{"stop": ["\\n"]}', change: () => this.changeParams(this.other) });
    this.problem = h("div", { class: "ipyllm-problem ipyllm-wide", role: "alert", dir: "auto", hidden: true });
    this.element = h(
      "div",
      { class: "ipyllm-settings", hidden: true },
      h("label", { class: "ipyllm-wide" }, this.systemLabel, this.system),
      this.effortRow,
      ...rows,
      h("label", { class: "ipyllm-wide" }, h("span", {}, "Other parameters, as JSON"), this.other),
      this.problem,
    );
  }

  /** @param {ViewSettings} settings */
  update(settings) {
    const before = this.shown;
    // The kernel's reply to an earlier change must not undo a later one.
    if (before === settings || this.pending) return;
    this.shown = settings;
    if (String(before?.models) !== String(settings.models)) {
      this.options.replaceChildren(...settings.models.map((value) => h("option", { value })));
      this.models.setItems(Object.fromEntries(settings.models.map((name) => [name, name])));
      this.models.hidden = settings.models.length < 2;
    }
    this.models.setCurrent(settings.model);
    const isFree = (/** @type {HTMLElement} */ field) => document.activeElement !== field && !field.hasAttribute("aria-invalid");
    if (document.activeElement !== this.model) this.model.value = settings.model;
    if (document.activeElement !== this.system) this.system.value = settings.system;
    const others = { ...settings.params };
    this.updateEffort(settings.efforts ?? [], others);
    for (const [name, field] of Object.entries(this.fields)) {
      const value = others[name];
      delete others[name];
      if (isFree(field)) field.value = value === undefined ? "" : String(value);
    }
    if (isFree(this.other)) this.other.value = Object.keys(others).length ? JSON.stringify(others) : "";
  }

  /** Offer the efforts that the models take. @param {string[]} efforts @param {Record<string, any>} others */
  updateEffort(efforts, others) {
    const given = String(others.effort ?? "");
    const offered = given && !efforts.includes(given) ? [...efforts, given] : efforts;
    delete others.effort;
    this.effortRow.hidden = !offered.length;
    this.effort.replaceChildren(h("option", { value: "" }, "default"), ...offered.map((value) => h("option", { value }, value)));
    this.effort.value = given;
  }

  /** Send the parameters; what is wrong stays as it was typed, with the reason. @param {HTMLElement} changed */
  async changeParams(changed) {
    const { params, wrong, error } = this.read();
    const problem = error ?? (await this.sendParams(params));
    const known = problem === this.problem.textContent ? this.element.querySelector("[aria-invalid]") : null;
    for (const field of [...Object.values(this.fields), this.other]) field.removeAttribute("aria-invalid");
    if (problem) (wrong ?? known ?? changed).setAttribute("aria-invalid", "true");
    this.problem.textContent = problem ?? "";
    this.problem.hidden = !problem;
  }

  /** @returns {{params: Record<string, unknown>, wrong?: HTMLElement, error?: string}} the parameters, or what is wrong with which field */
  read() {
    /** @type {Record<string, unknown>} */
    let params = {};
    if (this.other.value.trim()) {
      try {
        params = JSON.parse(this.other.value);
        if (typeof params !== "object" || params === null || Array.isArray(params)) throw new Error("not an object");
      } catch {
        return { params, wrong: this.other, error: 'Other parameters must be a JSON object, such as {"stop": ["END"]}.' };
      }
    }
    if (this.effort.value) params.effort = this.effort.value;
    for (const [name, field] of Object.entries(this.fields)) {
      if (field.validity.badInput) return { params, wrong: field, error: `${name} must be a number.` };
      if (field.value !== "") params[name] = Number(field.value);
    }
    return { params };
  }
}
