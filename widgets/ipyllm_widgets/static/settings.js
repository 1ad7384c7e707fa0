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
  /** @param {(changes: Record<string, unknown>) => Promise<void>} change @param {(message: string) => void} showError */
  constructor(change, showError) {
    this.pending = 0; // changes that the kernel has not acknowledged yet
    this.change = async (/** @type {Record<string, unknown>} */ changes) => {
      this.pending += 1;
      try {
        await change(changes);
      } finally {
        this.pending -= 1;
      }
    };
    this.showError = showError;
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
      this.fields[name] = h("input", { class: "ipyllm-input", ...props, change: () => this.changeParams() });
      return h("label", {}, h("span", {}, label), this.fields[name]);
    });
    this.effort = h("select", { class: "ipyllm-input", change: () => this.changeParams() });
    this.effortRow = h("label", { hidden: true }, h("span", {}, "Effort"), this.effort);
    this.other = h("input", { class: "ipyllm-input", spellcheck: "false", placeholder: '{"stop": ["\\n"]}', change: () => this.changeParams() });
    this.element = h(
      "div",
      { class: "ipyllm-settings", hidden: true },
      h("label", { class: "ipyllm-wide" }, this.systemLabel, this.system),
      this.effortRow,
      ...rows,
      h("label", { class: "ipyllm-wide" }, h("span", {}, "Other parameters, as JSON"), this.other),
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
    if (document.activeElement !== this.model) this.model.value = settings.model;
    if (document.activeElement !== this.system) this.system.value = settings.system;
    const others = { ...settings.params };
    this.updateEffort(settings.efforts ?? [], others);
    for (const [name, field] of Object.entries(this.fields)) {
      const value = others[name];
      delete others[name];
      if (document.activeElement !== field) field.value = value === undefined ? "" : String(value);
    }
    if (document.activeElement !== this.other) this.other.value = Object.keys(others).length ? JSON.stringify(others) : "";
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

  changeParams() {
    /** @type {Record<string, unknown>} */
    let params = {};
    if (this.other.value.trim()) {
      try {
        params = JSON.parse(this.other.value);
        if (typeof params !== "object" || params === null || Array.isArray(params)) throw new Error("not an object");
      } catch {
        this.showError('Other parameters must be a JSON object, such as {"stop": ["END"]}.');
        return;
      }
    }
    if (this.effort.value) params.effort = this.effort.value;
    for (const [name, field] of Object.entries(this.fields)) {
      if (field.validity.badInput) {
        this.showError(`${name} must be a number.`);
        return;
      }
      if (field.value !== "") params[name] = Number(field.value);
    }
    this.change({ params });
  }
}
