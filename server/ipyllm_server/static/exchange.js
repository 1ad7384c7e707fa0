// The view of a question and its answer. What it shows comes as HTML from the server, sanitised there.

import { editForm } from "./chat/edit_form.js";
import { QuestionText } from "./chat/question_text.js";
import { VersionSwitch } from "./chat/version_switch.js";
import { button, copyButton, h, shownText } from "./dom.js";
import { PartView } from "./part.js";

export const STOPPED = "The answer was stopped.";
const NAMED_CHARS = 60;
export const NO_ANSWER = "The connection was lost before an answer came.";

/** Return why there is no answer. @param {string} failure what the server said, or "" @param {string} status with which the call ended */
export function reasonOf(failure, status) {
  return failure || (status === "cancelled" ? "Stopped before the first word." : "The answer is empty.");
}

/** @param {any} content a text, or the parts of a message */
export function textOf(content) {
  if (!Array.isArray(content)) return String(content ?? "");
  return content.map((part) => (part.type === "text" ? part.text : "[image]")).join("\n\n");
}

/**
 * What can be done with an exchange: `ask` asks its question again, edited or not, and returns whether that was possible; `select` shows the version of that call.
 * @typedef {{ask: (view: ExchangeView, text: string) => boolean, select: (view: ExchangeView, call: string) => void, focusComposer: () => void}} ExchangeActions
 */

/** Shows one exchange. */
export class ExchangeView {
  /** @param {string} question @param {ExchangeActions} actions @param {number} [elapsed] seconds since it was asked */
  constructor(question, actions, elapsed = 0) {
    const reasoning = h("div"), text = h("div", { class: "ipyllm-text" });
    /** @type {Record<string, PartView>} */
    this.parts = { reasoning: new PartView(reasoning), text: new PartView(text) };
    this.question = question;
    this.actions = actions;
    /** @type {string | null} */
    this.call = null; // of the answer, which names it
    /** @type {string[]} */
    this.calls = []; // of all versions, the oldest first
    /** @type {string | null} */
    this.replaces = null; // the call of the answer in whose place this one is asked for
    /** @type {string | null} */
    this.after = null; // the call of the answer before it
    /** @type {(() => void) | null} */
    this.drop = null; // takes a question away that has no answer
    this.isRunning = true;
    this.isIdle = true;
    this.reasoning = h("details", { class: "ipyllm-reasoning", hidden: true }, h("summary", {}, "Reasoning"), reasoning);
    this.startedAt = performance.now() - 1000 * elapsed;
    this.waiting = h("div", { class: "ipyllm-footer ipyllm-waiting", "aria-hidden": "true" }, "waiting");
    this.note = h("div", { class: "ipyllm-footer", dir: "auto", hidden: true });
    this.error = h("div", { class: "ipyllm-error", hidden: true });
    this.footer = h("span", { class: "ipyllm-footer" });
    this.copy = copyButton("Copy answer", (copy) => copy(shownText(text)));
    this.versions = new VersionSwitch((version) => actions.select(this, this.calls[version - 1]));
    this.editButton = button("edit", "Edit and ask again", () => this.edit());
    this.againButton = button("regenerate", "Answer again", () => actions.ask(this, question));
    const words = new QuestionText((then) => then(question));
    words.update(question, [...question].length);
    this.bubble = h("div", { class: "ipyllm-bubble" }, words.words, words.unfoldButton);
    this.questionActions = h("div", { class: "ipyllm-actions", role: "toolbar", "aria-label": "Question" },
      this.versions.element, this.editButton, copyButton("Copy question", (copy) => copy(question)));
    this.foot = h("div", { class: "ipyllm-foot", role: "toolbar", "aria-label": "Answer", hidden: true },
      this.footer, h("span", { class: "ipyllm-actions" }, this.copy, this.againButton));
    this.element = h(
      "article",
      { class: "ipyllm-exchange ipyllm-running" },
      h("div", { class: "ipyllm-question" }, h("span", { class: "ipyllm-away" }, "You: "),
        this.bubble, this.questionActions),
      h("div", { class: "ipyllm-reply" }, h("span", { class: "ipyllm-away" }, "Model: "),
        this.note, this.reasoning, text, this.waiting, this.error, this.foot),
    );
    for (const action of this.element.querySelectorAll("[role=toolbar] button")) action.tabIndex = -1; // see MessageKeys
    this.refresh();
  }

  /** The question has an answer. @param {string | null} call its call @param {string[]} calls of all versions */
  setCall(call, calls) {
    this.call = call;
    this.calls = calls;
    this.refresh();
  }

  /** @param {boolean} idle whether a question can be asked */
  setIdle(idle) {
    this.isIdle = idle;
    this.refresh();
  }

  refresh() {
    const isKnown = !this.isRunning && (this.call !== null || this.drop !== null);
    this.versions.update([this.calls.indexOf(this.call ?? "") + 1, this.calls.length], this.isIdle);
    this.editButton.hidden = !isKnown;
    this.againButton.hidden = this.call === null || !this.error.hidden;
    this.editButton.disabled = this.againButton.disabled = !this.isIdle;
  }

  /** Show a form in the place of the question. @param {() => void} [giveBack] gives the focus back */
  edit(giveBack = () => this.editButton.focus()) {
    if (!this.bubble.isConnected || this.editButton.hidden) return;
    const close = () => {
      form.element.replaceWith(this.bubble);
      this.questionActions.hidden = false;
      giveBack();
    };
    const form = editForm(this.question, { close, save: (text) => text.trim() && this.actions.ask(this, text) });
    this.bubble.replaceWith(form.element);
    this.questionActions.hidden = true;
    form.focus();
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

  /** Say which question this one would have replaced, had it got an answer. @param {string} question */
  showReplaced(question) {
    const words = question.length > NAMED_CHARS ? `${[...question].slice(0, NAMED_CHARS).join("")} …` : question;
    this.note.textContent = question === this.question ? "This asked for another answer; the earlier one stays." : `This was an edit of “${words}”, which stays as it was.`;
    this.note.hidden = false;
  }

  /** @param {string} message */
  showError(message) {
    this.error.hidden = false;
    this.error.classList.toggle("ipyllm-stopped", message === STOPPED);
    this.error.replaceChildren(h("span", { dir: "auto" }, message), h("button", { type: "button", class: "ipyllm-button", click: () => this.actions.ask(this, this.question) }, "Try again"));
    this.refresh();
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
    this.refresh();
  }
}
