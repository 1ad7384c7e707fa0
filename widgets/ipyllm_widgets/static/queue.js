// The questions that wait until the running answer has ended.

import { button, h } from "./dom.js";

/**
 * @typedef {{id: string, text: string, images: number, files: number, held: boolean}} Queued
 */

export class QueueView {
  /** @param {{takeBack: (id: string) => void, sendNext: () => void}} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {Queued[] | undefined} */
    this.shown = undefined;
    this.list = h("ul", { class: "ipyllm-queued", "aria-label": "Questions that wait" });
    this.title = h("div", { class: "ipyllm-footer", role: "status" });
    this.sendNext = h("button", { type: "button", class: "ipyllm-button", click: () => actions.sendNext() }, "Send now");
    this.element = h("div", { class: "ipyllm-queue", hidden: true }, h("div", { class: "ipyllm-queue-head" }, this.title, this.sendNext), this.list);
  }

  /** @param {Queued[]} queue @param {boolean} idle */
  update(queue, idle) {
    const held = idle && queue.some((question) => question.held);
    this.sendNext.hidden = !held;
    const title = !queue.length ? "" : held ? "Waiting for you: send the next, or take it back" : "Asked next";
    if (this.title.textContent !== title) this.title.textContent = title;
    if (queue === this.shown) return;
    this.shown = queue;
    this.element.hidden = !queue.length;
    this.list.replaceChildren(...queue.map(({ id, text, images, files }) =>
      h("li", {},
        h("span", { dir: "auto" }, [text, amount(images, "image"), amount(files, "file")].filter(Boolean).join(" ")),
        button("close", "Take back", () => this.actions.takeBack(id)))));
  }
}

/** @param {number} n @param {string} noun */
function amount(n, noun) {
  return n ? `(${n} ${noun}${n === 1 ? "" : "s"})` : "";
}
