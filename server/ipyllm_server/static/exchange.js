// The view of a question and its answer. What it shows comes as HTML from the server, sanitised there.

import { copyButton, h, shownText } from "./dom.js";
import { PartView } from "./part.js";

export const STOPPED = "The answer was stopped.";

/** @param {any} content a text, or the parts of a message */
export function textOf(content) {
  if (!Array.isArray(content)) return String(content ?? "");
  return content.map((part) => (part.type === "text" ? part.text : "[image]")).join("\n\n");
}

/** Shows one exchange. */
export class ExchangeView {
  /** @param {string} question @param {number} [elapsed] seconds since it was asked */
  constructor(question, elapsed = 0) {
    const reasoning = h("div"), text = h("div", { class: "ipyllm-text" });
    /** @type {Record<string, PartView>} */
    this.parts = { reasoning: new PartView(reasoning), text: new PartView(text) };
    this.question = question;
    this.isRunning = true;
    this.reasoning = h("details", { class: "ipyllm-reasoning", hidden: true }, h("summary", {}, "Reasoning"), reasoning);
    this.startedAt = performance.now() - 1000 * elapsed;
    this.waiting = h("div", { class: "ipyllm-footer ipyllm-waiting", "aria-hidden": "true" }, "waiting");
    this.note = h("div", { class: "ipyllm-footer", dir: "auto", hidden: true });
    this.error = h("div", { class: "ipyllm-error", hidden: true });
    this.footer = h("span", { class: "ipyllm-footer" });
    this.copy = copyButton("Copy answer", (copy) => copy(shownText(text)));
    this.foot = h("div", { class: "ipyllm-foot", hidden: true }, this.footer, h("span", { class: "ipyllm-actions" }, this.copy));
    this.element = h(
      "article",
      { class: "ipyllm-exchange ipyllm-running" },
      h("div", { class: "ipyllm-question" }, h("span", { class: "ipyllm-away" }, "You: "),
        h("div", { class: "ipyllm-bubble" }, h("div", { class: "ipyllm-words", dir: "auto" }, question))),
      h("div", { class: "ipyllm-reply" }, h("span", { class: "ipyllm-away" }, "Model: "),
        this.note, this.reasoning, text, this.waiting, this.error, this.foot),
    );
  }

  /** @param {{part: string, from: number, blocks: string[], tail: string}} message */
  update({ part, from, blocks, tail }) {
    const view = this.parts[part];
    view.update({ blocks: blocks.length || from < view.blocks.length ? [...view.blocks.slice(0, from), ...blocks] : view.blocks, tail });
    if (part === "reasoning") this.reasoning.hidden = false;
    this.tick();
  }

  /** Show the elapsed time. */
  tick() {
    const seconds = Math.floor((performance.now() - this.startedAt) / 1000);
    const { reasoning, text } = this.parts;
    const activity = text.blocks.length || text.tail ? "answering" : reasoning.blocks.length || reasoning.tail ? "thinking" : "waiting";
    this.waiting.textContent = seconds ? `${activity} · ${seconds} s` : activity;
  }

  /** @param {string} message @param {() => void} tryAgain asks the question again */
  showError(message, tryAgain) {
    this.error.hidden = false;
    this.error.classList.toggle("ipyllm-stopped", message === STOPPED);
    this.error.replaceChildren(h("span", { dir: "auto" }, message), h("button", { type: "button", class: "ipyllm-button", click: tryAgain }, "Try again"));
  }

  /** @param {string} summary the line below an answer that has ended */
  summarise(summary) {
    this.footer.textContent = summary;
    this.foot.hidden = !summary && this.copy.hidden;
  }

  /** @param {{summary?: string, note?: string | null, content?: string}} done */
  end({ summary = "", note = null, content = "" }) {
    this.isRunning = false;
    this.waiting.hidden = true;
    this.element.classList.remove("ipyllm-running");
    this.note.textContent = note ?? "";
    this.note.hidden = !note;
    this.copy.hidden = !content;
    this.summarise(summary);
  }
}
