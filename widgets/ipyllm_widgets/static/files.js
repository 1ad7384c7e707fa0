// Files of a question as chips; a click shows the text of one.

import { button, h } from "./dom.js";

const MOST_SHOWN = 200_000; // characters; laying out a book takes seconds

/**
 * @typedef {{name: string, note: string, text?: (then: (text: string) => void) => void, remove?: () => void}} Chip
 *   `note` says how large it is; `text` gets the text, without which it cannot be shown
 */

/** The place where the text of a file is shown; one at a time. */
export class FileText {
  constructor() {
    this.element = h("pre", { class: "ipyllm-file-text", dir: "auto", role: "region", tabindex: 0, hidden: true });
    /** @type {HTMLElement | null} */
    this.opener = null;
  }

  /** Show a text, or hide it if it is shown. @param {HTMLElement} opener @param {Chip} chip */
  toggle(opener, chip) {
    const isOpen = this.opener === opener;
    this.close();
    if (isOpen) return;
    this.opener = opener;
    chip.text?.((text) => {
      if (this.opener !== opener) return; // another was clicked since
      this.element.textContent = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)} …\n\nThese are the first ${MOST_SHOWN.toLocaleString()} of ${text.length.toLocaleString()} characters.` : text;
      this.element.setAttribute("aria-label", `Text of ${chip.name}`);
      this.element.hidden = false;
      opener.setAttribute("aria-expanded", "true");
      this.element.scrollIntoView({ block: "nearest" });
    });
  }

  close() {
    this.opener?.setAttribute("aria-expanded", "false");
    this.opener = null;
    this.element.hidden = true;
    this.element.textContent = "";
  }
}

/** @param {Chip} chip @param {FileText} place where its text is shown */
export function fileChip(chip, place) {
  const { name, note, text, remove } = chip;
  const label = [h("span", { class: "ipyllm-file-name", dir: "auto" }, name), h("span", { class: "ipyllm-footer" }, note)];
  const opener = text
    ? h("button", { type: "button", class: "ipyllm-open", title: `Show the text of ${name}`, "aria-expanded": "false", click: () => place.toggle(opener, chip) }, ...label)
    : h("span", { class: "ipyllm-open", title: name }, ...label);
  return h("span", { class: "ipyllm-chip" }, opener, ...(remove ? [button("close", `Remove ${name}`, remove)] : []));
}

/** Shows the files of a question that was sent. */
export class FilesView {
  /** @param {(at: number, then: (text: string) => void) => void} request gets the text of one */
  constructor(request) {
    this.request = request;
    this.text = new FileText();
    this.chips = h("div", { class: "ipyllm-files" });
    this.element = h("div", { hidden: true }, this.chips, this.text.element);
    this.shown = "[]";
  }

  /** @param {import("./reducer.js").AttachedFile[]} files */
  update(files) {
    const shown = JSON.stringify(files);
    if (shown === this.shown) return;
    this.shown = shown;
    this.text.close();
    this.chips.replaceChildren(...files.map(({ name, chars }, at) =>
      fileChip({ name, note: `${chars.toLocaleString()} characters`, text: (then) => this.request(at, then) }, this.text)));
    this.element.hidden = !files.length;
  }
}
