// Which version of a question is shown, and buttons for the one before and the one after.

import { button, h } from "../dom.js";

/** Shows nothing while there is one version only. */
export class VersionSwitch {
  /** @param {(version: number) => void} select shows a version, counted from 1 */
  constructor(select) {
    this.select = select;
    this.element = h("span", { class: "ipyllm-branch", hidden: true });
    this.shown = "";
  }

  /** @param {[number, number]} position of the version that is shown, from 1, and their number @param {boolean} idle whether another may be shown */
  update([position, count], idle) {
    const shown = `${position}/${count}`;
    if (this.shown !== shown) {
      this.shown = shown;
      this.element.hidden = count < 2;
      const before = button("left", "Earlier version", () => this.select(position - 1));
      const after = button("right", "Later version", () => this.select(position + 1));
      const label = h("span", { "aria-label": `Version ${position} of ${count}`, role: "img" }, shown);
      for (const action of [before, after]) action.tabIndex = -1; // see MessageKeys
      this.element.replaceChildren(...(position > 1 ? [before] : []), label, ...(position < count ? [after] : []));
    }
    for (const action of this.element.querySelectorAll("button")) action.disabled = !idle;
  }

  /** Give the focus to a button. @param {boolean} later whether rather the one that shows a later version */
  focus(later) {
    const buttons = [...this.element.querySelectorAll("button")];
    (later ? buttons.pop() : buttons[0])?.focus({ preventScroll: true });
  }
}
