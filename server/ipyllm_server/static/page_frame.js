// What surrounds the chat on the page: the header with the models, and lines that tell what goes on.

import { request } from "./api.js";
import { button, h } from "./dom.js";

const NAME = "Chat";

/** The parts of the page around its log and its composer. */
export class PageFrame {
  constructor() {
    this.model = h("select", { class: "ipyllm-input ipyllm-model", "aria-label": "Model", change: () => localStorage.setItem("ipyllm-model", this.model.value) }, h("option", { value: "" }, "Default model"));
    this.heading = h("h1", { dir: "auto" }, NAME);
    this.notice = h("div", { class: "ipyllm-notice", role: "alert", hidden: true });
    this.hint = h("div", { class: "ipyllm-hint", role: "status", hidden: true });
    this.status = h("div", { class: "ipyllm-away", role: "status" });
  }

  /** @param {{fold: HTMLElement, side: HTMLElement, log: HTMLElement, queue: HTMLElement, composer: HTMLElement, begin: () => void}} parts */
  show({ fold, side, log, queue, composer, begin }) {
    document.body.append(h("div", { class: "ipyllm-widget ipyllm-chat ipyllm-site" },
      h("header", { class: "ipyllm-top" }, this.heading, fold,
        h("button", { type: "button", class: "ipyllm-button", click: begin }, "New chat"), this.model),
      h("div", { class: "ipyllm-body" }, side,
        h("main", { class: "ipyllm-main" }, log, this.hint, this.notice, this.status, queue, composer))));
  }

  async loadModels() {
    try {
      const { models } = await request("api/models");
      this.model.replaceChildren(...models.map((/** @type {string} */ name) => h("option", {}, name)));
      const chosen = localStorage.getItem("ipyllm-model");
      if (models.includes(chosen)) this.model.value = chosen;
    } catch (error) {
      this.showError(`The models cannot be listed: ${/** @type {Error} */ (error).message}`);
    }
  }

  /** Show which conversation this is. @param {string | null} conversation its name; null for a new chat */
  showName(conversation) {
    this.heading.textContent = this.heading.title = conversation ?? NAME;
    document.title = conversation === null ? NAME : `${conversation} – ${NAME}`;
  }

  /** Tell screen readers, once. @param {string} sentence */
  announce(sentence) {
    if (this.status.textContent !== sentence) this.status.textContent = sentence;
  }

  /** @param {string} message the error, or "" */
  showError(message) {
    this.notice.hidden = !message;
    this.notice.replaceChildren(...(message ? [h("span", { dir: "auto" }, message), button("close", "Dismiss", () => this.showError(""))] : []));
  }

  /** @param {string} hint */
  showHint(hint) {
    this.hint.hidden = !hint;
    this.hint.textContent = hint;
  }
}
