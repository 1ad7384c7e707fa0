// The user's conversations, at the side of the page: open, delete, and names for new ones.

import { request } from "./api.js";
import { button, h } from "./dom.js";

const NAME_CHARS = 60;

/**
 * What the list asks of the page; `current` is the name of the conversation that it shows, or null.
 * @typedef {{current: () => string | null, open: (name: string) => void, deleted: (name: string) => void, showError: (message: string) => void}} ListActions
 */

/** Lists the conversations. */
export class ConversationList {
  /** @param {ListActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {string[]} */
    this.names = [];
    this.list = h("ul", { class: "ipyllm-list" });
    this.found = h("div", { class: "ipyllm-footer" });
    this.element = h("nav", { class: "ipyllm-side", "aria-label": "Conversations", hidden: true }, h("h2", {}, "Conversations"), this.list, this.found);
    this.fold = h("button", { type: "button", class: "ipyllm-button ipyllm-fold", "aria-expanded": "false", click: () => this.show(this.element.hidden) }, "Conversations");
  }

  /** @param {boolean} shown on a narrow page; a wide one always shows it */
  show(shown) {
    this.element.hidden = !shown;
    this.fold.setAttribute("aria-expanded", String(shown));
  }

  async load() {
    try {
      const { conversations } = await request("api/conversations");
      this.names = conversations.map((/** @type {{name: string}} */ { name }) => name);
    } catch (error) {
      this.actions.showError(`The conversations cannot be listed: ${/** @type {Error} */ (error).message}`);
      return;
    }
    this.list.replaceChildren(...this.names.map((name) => {
      const open = h("button", { type: "button", class: "ipyllm-conversation", dir: "auto", click: () => this.actions.open(name) }, name);
      if (name === this.actions.current()) open.setAttribute("aria-current", "true");
      return h("li", {}, open, button("delete", `Delete “${name}”`, () => this.remove(name)));
    }));
    this.found.textContent = this.names.length ? "" : "None yet.";
  }

  /** @param {string} name */
  async remove(name) {
    if (!confirm(`Delete the conversation “${name}”?`)) return;
    try {
      await request(`api/conversations/${encodeURIComponent(name)}`, "DELETE");
    } catch (error) {
      this.actions.showError(/** @type {Error} */ (error).message);
      return;
    }
    this.actions.deleted(name);
  }

  /** Return a name that no conversation has. @param {string} question its first */
  newName(question) {
    const words = [...question.replace(/\s+/g, " ").trim()];
    const name = words.length > NAME_CHARS ? `${words.slice(0, NAME_CHARS).join("")} …` : words.join("");
    let at = 1;
    while (this.names.includes(at > 1 ? `${name} (${at})` : name)) at += 1;
    return at > 1 ? `${name} (${at})` : name;
  }
}
