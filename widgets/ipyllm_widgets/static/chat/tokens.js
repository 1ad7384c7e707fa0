// An answer by its tokens, each shaded by its probability, in place of its text.

import { h, setHtml } from "../dom.js";

/** A button that switches between the text of an answer and its tokens, which the kernel sends when they are first asked for. */
export class TokensView {
  /**
   * @param {HTMLElement} text what the tokens are shown in place of
   * @param {(then: (html: string) => void) => void} request asks for the tokens, sanitised by `ipyllm.rendering`
   */
  constructor(text, request) {
    this.text = text;
    this.request = request;
    this.key = "";
    this.isKnown = false;
    this.element = h("div", { class: "ipyllm-chattokens", hidden: true });
    this.button = h("button", { type: "button", class: "ipyllm-link", hidden: true, "aria-pressed": "false", title: "Each token shaded by its probability", click: () => this.toggle() }, "Tokens");
    text.after(this.element);
  }

  /** @param {boolean} isOffered @param {string} key changes with the answer */
  update(isOffered, key) {
    if (key !== this.key) {
      this.key = key;
      this.isKnown = false;
      this.show(false);
    }
    if (!isOffered) this.show(false);
    this.button.hidden = !isOffered;
  }

  toggle() {
    if (!this.element.hidden) return this.show(false);
    if (this.isKnown) return this.show(true);
    const key = this.key;
    this.request((html) => {
      if (key !== this.key) return; // another answer has come
      setHtml(this.element, html);
      this.isKnown = true;
      this.show(true);
    });
  }

  /** @param {boolean} tokens */
  show(tokens) {
    this.element.hidden = !tokens;
    this.text.hidden = tokens;
    this.button.setAttribute("aria-pressed", String(tokens));
  }
}
