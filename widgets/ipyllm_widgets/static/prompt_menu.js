// The menu of one's own prompts, which a "/" at the beginning of the box opens.

import { h } from "./dom.js";

/** @typedef {{name: string, source: string, excerpt: string}} SavedPrompt */

let menuCount = 0;

/** Lists the prompts whose names contain what follows the "/". The box keeps the focus. */
export class PromptMenu {
  /**
   * @param {HTMLTextAreaElement} input
   * @param {{list: () => void, text: (name: string, then: (text: string) => void) => void, put: (text: string) => void}} actions
   */
  constructor(input, actions) {
    this.input = input;
    this.actions = actions;
    this.open = false;
    this.dismissed = ""; // what was typed when the menu was closed by Escape
    this.at = 0;
    /** @type {SavedPrompt[] | null} */
    this.items = null; // not asked for yet
    /** @type {SavedPrompt[]} */
    this.shown = [];
    /** @type {string[]} */
    this.problems = [];
    this.id = `ipyllm-prompts-${++menuCount}`;
    this.list = h("div", { id: this.id, role: "listbox", "aria-label": "Your prompts", class: "ipyllm-prompts-list" });
    this.hint = h("div", { class: "ipyllm-footer ipyllm-prompts-hint", role: "status" });
    this.element = h("div", { class: "ipyllm-prompts", hidden: true, pointerdown: (/** @type {Event} */ event) => event.preventDefault() }, this.list, this.hint);
    input.setAttribute("aria-autocomplete", "list");
  }

  /** Open, filter or close the menu after a change of the box. */
  refresh() {
    const query = slashQuery(this.input.value);
    if (query === null) this.dismissed = "";
    if (query === null || (this.dismissed && this.input.value.startsWith(this.dismissed))) {
      this.close();
      return;
    }
    if (!this.open) {
      this.open = true;
      this.items = null;
      this.actions.list(); // anew each time: a file may have been added
    }
    this.at = 0;
    this.draw();
  }

  /** @param {SavedPrompt[]} items @param {string[]} problems */
  show(items, problems) {
    this.items = items;
    this.problems = problems;
    if (this.open) this.draw();
  }

  draw() {
    const query = slashQuery(this.input.value) ?? "";
    this.shown = matching(this.items ?? [], query);
    this.list.replaceChildren(...this.shown.map((prompt, at) =>
      h("div", { id: `${this.id}-${at}`, role: "option", class: "ipyllm-prompt-option", "aria-selected": String(at === this.at), title: prompt.source, click: () => this.choose(at) },
        h("b", {}, prompt.name), " ", h("span", { class: "ipyllm-footer" }, prompt.excerpt))));
    this.hint.textContent = this.items === null ? "Looking for your prompts …" : [this.summary(query), ...this.problems].join(" ");
    this.list.hidden = !this.shown.length;
    this.element.hidden = false;
    this.input.setAttribute("aria-controls", this.id);
    this.mark();
  }

  /** @param {string} query */
  summary(query) {
    if (this.shown.length) return `${this.shown.length} ${this.shown.length === 1 ? "prompt" : "prompts"}: arrows choose, Enter takes one, Escape closes.`;
    if (this.items?.length) return `None of your prompts is called “${query}”.`;
    return "You have no prompts yet. Put texts into a folder prompts beside the notebook, such as prompts/review.md, or under [prompts] in config.toml.";
  }

  mark() {
    for (const [at, option] of [...this.list.children].entries()) option.setAttribute("aria-selected", String(at === this.at));
    const chosen = this.list.children[this.at];
    if (!chosen) return void this.input.removeAttribute("aria-activedescendant");
    this.input.setAttribute("aria-activedescendant", chosen.id);
    chosen.scrollIntoView({ block: "nearest" });
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the menu has used the key */
  onKey(event) {
    if (!this.open) return false;
    if (event.key === "Escape") {
      this.dismissed = this.input.value;
      this.close();
      return true;
    }
    if (!this.shown.length) return false;
    const count = this.shown.length;
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: (this.at + 1) % count, ArrowUp: (this.at + count - 1) % count, PageDown: Math.min(this.at + 5, count - 1), PageUp: Math.max(this.at - 5, 0) };
    if (event.key in targets) {
      this.at = targets[event.key];
      this.mark();
      return true;
    }
    if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey) {
      this.choose(this.at);
      return true;
    }
    return false;
  }

  /** @param {number} at */
  choose(at) {
    const typed = this.input.value;
    this.actions.text(this.shown[at].name, (text) => {
      if (this.input.value === typed) this.actions.put(text); // not over what was typed since
    });
    this.close();
  }

  close() {
    this.open = false;
    this.element.hidden = true;
    this.input.removeAttribute("aria-activedescendant");
    this.input.removeAttribute("aria-controls");
  }
}

/**
 * @param {string} value of the box
 * @returns {string | null} what is looked for, or null if the box holds no beginning of a prompt's name
 */
export function slashQuery(value) {
  return /^\/[^\n/]{0,80}$/.test(value) ? value.slice(1) : null;
}

/**
 * @template {{name: string}} T
 * @param {T[]} items @param {string} query
 * @returns {T[]} those whose names contain all words, names that begin with the first
 */
export function matching(items, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = items.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
  const starts = (/** @type {T} */ item) => Number(!item.name.toLowerCase().startsWith(words[0] ?? ""));
  return found.map((item, at) => /** @type {[T, number]} */ ([item, at])).sort(([a, i], [b, j]) => starts(a) - starts(b) || i - j).map(([item]) => item);
}
