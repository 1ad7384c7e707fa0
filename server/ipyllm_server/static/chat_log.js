// The log of a conversation: its exchanges, those without an answer too, and which of them is in sight.

import { h } from "./dom.js";
import { ExchangeView, STOPPED, textOf } from "./exchange.js";
import { tabMemory } from "./tab_memory.js";

const NEAR_END_PX = 60;
const MARKED_MS = 4000;

/** Shows exchanges. */
export class ChatLog {
  /** @param {{conversation: () => string | null, tryAgain: (text: string, begun?: () => void) => void}} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {Map<number, ExchangeView>} */
    this.answered = new Map(); // those of the history, by the number of the answer's message
    this.scrollsWithAnswer = true;
    this.log = h("div", { class: "ipyllm-log", role: "log", "aria-label": "Chat", tabindex: 0, scroll: () => {
      this.scrollsWithAnswer = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_END_PX;
      this.newest.hidden = this.scrollsWithAnswer;
    } });
    this.newest = h("button", { type: "button", class: "ipyllm-button ipyllm-newest", hidden: true, click: () => this.scrollToEnd() }, "To the newest");
    this.element = h("div", { class: "ipyllm-middle" }, this.log, this.newest);
  }

  clear() {
    this.log.replaceChildren(h("p", { class: "ipyllm-nothing" }, "Ask a question to begin."));
  }

  /** Read the messages of a history; `show` shows them. @param {any[]} messages */
  read(messages) {
    this.answered.clear();
    /** @type {string[]} */
    let questions = [];
    for (const [at, { role, content, html, status }] of messages.entries()) {
      if (role === "user") questions.push(textOf(content));
      if (role !== "assistant" || html === undefined) continue;
      const view = new ExchangeView(questions.join("\n\n"));
      view.update({ part: "text", from: 0, blocks: [html], tail: "" });
      view.end({ content: textOf(content) });
      if (status === "cancelled") view.showError(STOPPED, () => this.actions.tryAgain(view.question));
      this.answered.set(at, view);
      questions = [];
    }
  }

  /** Show the history with the questions that have no answer. @param {ExchangeView | null} running what comes after it */
  show(running) {
    const views = [...this.answered.values()];
    for (const { text, error, after, summary } of tabMemory.unanswered(this.actions.conversation()).reverse()) {
      const view = new ExchangeView(text);
      view.end({ summary });
      this.showUnanswered(view, error);
      views.splice(after, 0, view);
    }
    if (running) views.push(running);
    if (views.length) this.log.replaceChildren(...views.map((view) => view.element));
    else this.clear();
    this.scrollToEnd();
  }

  /** @param {(string | null)[]} summaries of the messages of the history */
  summarise(summaries) {
    for (const [at, view] of this.answered) view.summarise(summaries[at] ?? "");
  }

  /** @param {ExchangeView} view */
  append(view) {
    this.log.querySelector(".ipyllm-nothing")?.remove();
    this.log.append(view.element);
  }

  /** @param {ExchangeView} view */
  remove(view) {
    view.element.remove();
    if (!this.log.children.length) this.clear();
  }

  /** The last question has no answer: keep it. @param {ExchangeView} view @param {string} error @param {string} summary */
  addUnanswered(view, error, summary) {
    this.showUnanswered(view, error);
    this.keepUnanswered({ text: view.question, error, after: this.countAnswered(), summary });
  }

  /** How many exchanges are shown that have, or await, an answer. */
  countAnswered() {
    return this.log.querySelectorAll(".ipyllm-exchange:not(.ipyllm-unanswered)").length;
  }

  /** @param {ExchangeView} view @param {string} error */
  showUnanswered(view, error) {
    view.element.classList.add("ipyllm-unanswered");
    view.showError(error, () => this.actions.tryAgain(view.question, () => {
      view.element.remove();
      this.forgetUnanswered(view.question, error);
    }));
  }

  /** @param {import("./tab_memory.js").Unanswered} question */
  keepUnanswered(question) {
    const conversation = this.actions.conversation();
    tabMemory.setUnanswered(conversation, [...tabMemory.unanswered(conversation), question]);
  }

  /** @param {string} text @param {string} error */
  forgetUnanswered(text, error) {
    const conversation = this.actions.conversation(), questions = tabMemory.unanswered(conversation);
    const dropped = questions.filter((each) => each.text === text && each.error === error).at(-1);
    tabMemory.setUnanswered(conversation, questions.filter((each) => each !== dropped));
  }

  /** The last question gets its answer after all. @param {string} text @param {string} error */
  dropLastUnanswered(text, error) {
    this.forgetUnanswered(text, error);
    this.log.lastElementChild?.remove();
  }

  /** Scroll to the first exchange with what was searched, and mark it. @param {string} query */
  showFound(query) {
    const plain = (/** @type {string} */ text) => text.split(/\s+/).join(" ").trim().toLowerCase();
    const wanted = plain(query), found = wanted && [...this.log.children].find((each) => plain(each.textContent ?? "").includes(wanted));
    if (!found) return;
    found.classList.add("ipyllm-found");
    setTimeout(() => found.classList.remove("ipyllm-found"), MARKED_MS);
    found.scrollIntoView({ block: "start" });
  }

  /** Stay at the end, if the user has not scrolled away from it. */
  follow() {
    if (this.scrollsWithAnswer) this.log.scrollTop = this.log.scrollHeight;
  }

  scrollToEnd() {
    this.scrollsWithAnswer = true;
    this.newest.hidden = true;
    this.log.scrollTop = this.log.scrollHeight;
  }
}
