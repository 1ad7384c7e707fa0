// The panel with the conversations of a notebook, or of a user of the chat server: open, search, rename, delete.

import { button, h } from "../dom.js";

const SEARCH_AFTER_MS = 250; // without a key

/** @type {Record<string, string>} what goes on in a conversation that is not shown */
const MARKS = { running: "answering …", new: "new answer", failed: "failed" };

/**
 * Show on the button that opens the panel what goes on in conversations that are not shown.
 * @param {HTMLElement} opener @param {Record<string, string>} before @param {Record<string, string>} elsewhere @returns {string} which of them have ended since, in words
 */
export function markOpener(opener, before, elsewhere) {
  const names = Object.keys(elsewhere), ended = names.filter((name) => elsewhere[name] !== "running");
  const said = (/** @type {string} */ name) => `“${name}”: ${MARKS[elsewhere[name]]}`;
  opener.classList.toggle("ipyllm-set", ended.length > 0);
  opener.classList.toggle("ipyllm-busy", names.length > 0 && !ended.length);
  opener.title = names.map(said).join(", ");
  return ended.filter((name) => before[name] === "running").map(said).join(", ");
}

/**
 * @typedef {{name: string, turns?: number, changed: string, title: string, excerpt: string}} Listed
 * @typedef {{find: (query: string) => void, open: (name: string, query: string) => void,
 *   rename: (name: string, to: string) => Promise<boolean>, remove: (name: string) => void}} ConversationActions
 */

/** Shows what the kernel found. */
export class ConversationsPanel {
  /** @param {ConversationActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.current = "";
    /** @type {Record<string, string>} */
    this.elsewhere = {};
    /** @type {Listed[]} */
    this.items = [];
    this.shown = "";
    this.editing = false;
    this.query = h("input", { type: "search", class: "ipyllm-input", placeholder: "Search all conversations", "aria-label": "Search all conversations", input: () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.find(), SEARCH_AFTER_MS);
    } });
    this.list = h("ul", { class: "ipyllm-list", "aria-label": "Conversations" });
    this.found = h("div", { class: "ipyllm-footer", role: "status" });
    this.element = h(
      "div",
      { class: "ipyllm-conversations", hidden: true, keydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event) },
      h("div", { class: "ipyllm-search" }, this.query),
      this.list,
      this.found,
    );
  }

  find() {
    clearTimeout(this.timer);
    if (!this.element.hidden) this.actions.find(this.query.value);
  }

  /** @param {string} name of the conversation that is shown @param {Record<string, string>} elsewhere what goes on in others */
  setCurrent(name, elsewhere) {
    if (name === this.current && JSON.stringify(elsewhere) === JSON.stringify(this.elsewhere)) return;
    this.current = name;
    this.elsewhere = elsewhere;
    this.show(this.items);
    this.find();
  }

  /** @param {Listed[]} items */
  show(items) {
    const shown = JSON.stringify([items, this.current, this.elsewhere, this.query.value]);
    this.items = items;
    // Replacing a row would lose a name that is being typed, or a click that has begun.
    if (this.editing || shown === this.shown) return;
    this.shown = shown;
    const at = this.list.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).closest("li")?.dataset.name : undefined;
    this.list.replaceChildren(...items.map((item) => this.row(item)));
    const searched = this.query.value.trim();
    this.found.textContent = items.length ? "" : searched ? `No conversation contains “${searched}”.` : "No conversations yet.";
    if (at !== undefined) (this.opener(at) ?? this.query).focus();
  }

  /** @param {Listed} item */
  row(item) {
    const { name, turns, changed, title, excerpt } = item;
    const when = changed ? new Date(changed).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
    const meta = [title === name ? "" : `“${name}”`, turns === undefined ? "" : `${turns} ${turns === 1 ? "turn" : "turns"}`, when].filter(Boolean).join(" · ");
    const mark = MARKS[this.elsewhere[name]] ? this.elsewhere[name] : "";
    const open = h(
      "button",
      { type: "button", class: "ipyllm-conversation", ...(name === this.current ? { "aria-current": "true" } : {}), click: () => this.actions.open(name, this.query.value) },
      h("b", { dir: "auto" }, title),
      ...(mark ? [h("span", { class: `ipyllm-mark ipyllm-mark-${mark}` }, MARKS[mark])] : []),
      h("span", { class: "ipyllm-footer" }, meta),
      ...(excerpt === title ? [] : [h("span", { class: "ipyllm-excerpt", dir: "auto" }, excerpt)]),
    );
    const row = h("li", { "data-name": name }, open,
      button("edit", `Rename “${name}”`, () => this.edit(row, name)),
      button("delete", `Delete “${name}”`, () => this.actions.remove(name)));
    return row;
  }

  /** @param {string} name @returns {string} what the list calls it */
  titleOf(name) {
    return this.items.find((item) => item.name === name)?.title ?? name;
  }

  /** @param {string} name @returns {HTMLElement | undefined} the button that opens it */
  opener(name) {
    return [...this.list.children].find((row) => row.dataset.name === name)?.firstElementChild;
  }

  /** @param {HTMLElement} row @param {string} name */
  edit(row, name) {
    const input = h("input", { class: "ipyllm-input", "aria-label": `New name of “${name}”`, dir: "auto" });
    input.value = name;
    let done = false;
    this.editing = true;
    const close = () => {
      done = true;
      this.editing = false;
      this.shown = "";
      this.show(this.items);
      this.opener(input.value.trim())?.focus() ?? this.opener(name)?.focus();
    };
    const save = async () => {
      const to = input.value.trim();
      if (done || !to || to === name || (await this.actions.rename(name, to))) {
        if (!done) close();
      } else input.focus();
    };
    input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Enter") save();
      else close();
    });
    row.replaceChildren(input,
      h("button", { type: "button", class: "ipyllm-button ipyllm-primary", click: save }, "Rename"),
      h("button", { type: "button", class: "ipyllm-button", click: close }, "Cancel"));
    input.select();
  }

  /** Arrow keys move through the list. @param {KeyboardEvent} event */
  onKey(event) {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!step) return;
    const openers = [...this.list.querySelectorAll(".ipyllm-conversation")];
    const at = openers.indexOf(/** @type {Element} */ (document.activeElement));
    if (at < 0 && document.activeElement !== this.query) return;
    event.preventDefault();
    (openers[at + step] ?? (at + step < 0 ? this.query : document.activeElement)).focus();
  }
}
