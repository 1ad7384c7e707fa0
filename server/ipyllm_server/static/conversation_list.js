// The user's conversations, at the side of the page: open, search, rename, delete, and names for new ones.

import { request } from "./api.js";
import { ConversationsPanel, markOpener } from "./chat/conversations.js";
import { h } from "./dom.js";

const NAME_CHARS = 60;
const SHOWN = 300; // rows; the search finds the others

/**
 * What the list asks of the page; `current` is the name of the conversation that it shows, or null.
 * `marks` says what goes on in others, `tell` which of them have ended.
 * @typedef {{current: () => string | null, tell: (news: string) => void, marks: () => Record<string, string>, open: (name: string, query: string) => void, deleted: (name: string) => void,
 *   renamed: (name: string, to: string) => void, showError: (message: string) => void}} ListActions
 */

/** Lists the conversations. */
export class ConversationList {
  /** @param {ListActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {string[]} */
    this.names = []; // of all
    this.loads = 0;
    /** @type {Record<string, string>} */
    this.marks = {};
    this.panel = new ConversationsPanel({
      find: () => void this.load(),
      open: actions.open,
      rename: (name, to) => this.rename(name, to),
      remove: (name) => void this.remove(name),
    });
    this.panel.element.hidden = false; // it is hidden with the side
    this.element = h("nav", { class: "ipyllm-side", "aria-label": "Conversations", hidden: true }, h("h2", {}, "Conversations"), this.panel.element);
    this.fold = h("button", { type: "button", class: "ipyllm-button ipyllm-fold", "aria-expanded": "false", click: () => this.show(this.element.hidden) }, "Conversations");
  }

  /** @param {boolean} shown on a narrow page; a wide one always shows it */
  show(shown) {
    this.element.hidden = !shown;
    this.fold.setAttribute("aria-expanded", String(shown));
  }

  async load() {
    this.mark();
    const load = (this.loads += 1), query = this.panel.query.value.trim();
    try {
      const all = await request("api/conversations");
      this.names = all.conversations.map((/** @type {{name: string}} */ { name }) => name);
      const { conversations } = query ? await request(`api/conversations?${new URLSearchParams({ query })}`) : all;
      if (load !== this.loads) return; // another one began meanwhile
      this.panel.current = this.actions.current() ?? "";
      this.panel.elsewhere = this.actions.marks();
      this.panel.show(conversations.slice(0, SHOWN).map((/** @type {{name: string, saved_at: string | null, excerpt: string | null}} */ { name, saved_at, excerpt }) =>
        ({ name, changed: saved_at ?? "", title: name, excerpt: excerpt ?? name })));
      const more = conversations.length - SHOWN;
      if (more > 0) this.panel.found.textContent = `${more.toLocaleString()} more: search for them.`;
    } catch (error) {
      this.actions.showError(`The conversations cannot be listed: ${/** @type {Error} */ (error).message}`);
    }
  }

  /** Show what goes on in others on the button too, which is all of the list that a narrow page always has. */
  mark() {
    const marks = this.actions.marks(), news = markOpener(this.fold, this.marks, marks);
    this.marks = marks;
    if (news) this.actions.tell(news);
  }

  /** @param {string} name */
  async remove(name) {
    if (!confirm(`Delete the conversation “${name}”?`)) return;
    if (await this.change(name, "DELETE")) this.actions.deleted(name);
  }

  /** @param {string} name @param {string} to */
  async rename(name, to) {
    if (!(await this.change(name, "PATCH", { name: to }))) return false;
    this.actions.renamed(name, to);
    await this.load();
    return true;
  }

  /** @param {string} name @param {string} method @param {object} [body] @returns {Promise<boolean>} whether it was done */
  async change(name, method, body) {
    try {
      await request(`api/conversations/${encodeURIComponent(name)}`, method, body);
    } catch (error) {
      this.actions.showError(/** @type {Error} */ (error).message);
      return false;
    }
    return true;
  }

  /** Return a name that no conversation has. @param {string} question its first */
  newName(question) {
    const line = question.replace(/[\s\p{Cc}\p{Cs}]+/gu, " ").trim(), words = [...line];
    const name = words.length > NAME_CHARS ? `${words.slice(0, NAME_CHARS).join("").trim()} …` : /^\.{0,2}$/.test(line) ? "Chat" : line;
    let at = 1;
    while (this.names.includes(at > 1 ? `${name} (${at})` : name)) at += 1;
    return at > 1 ? `${name} (${at})` : name;
  }
}
