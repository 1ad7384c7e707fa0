// The text of a question: of a long one the beginning, and a button that shows all of it.

import { h } from "../dom.js";

const FOLD_ABOVE = 1200; // characters

/** Shows a question. */
export class QuestionText {
  /** @param {(then: (text: string) => void) => void} withText calls its argument with the whole text */
  constructor(withText) {
    this.words = h("div", { class: "ipyllm-words", dir: "auto" });
    this.unfoldButton = h("button", { type: "button", class: "ipyllm-link", click: () => withText((text) => {
      this.words.textContent = text;
      this.unfoldButton.hidden = true;
    }) });
  }

  /** @param {string} text or its beginning @param {number} chars of the whole */
  update(text, chars) {
    const long = chars > FOLD_ABOVE;
    this.words.textContent = long ? `${[...text].slice(0, FOLD_ABOVE).join("")} …` : text;
    this.words.hidden = !text;
    this.unfoldButton.hidden = !long;
    this.unfoldButton.textContent = long ? `Show all ${chars.toLocaleString()} characters` : "";
  }
}
