// The log of a conversation: its exchanges, those without an answer too, and which of them is in sight.

import { MessageKeys } from "./chat/message_keys.js";
import { h } from "./dom.js";
import { ExchangeView, STOPPED, textOf } from "./exchange.js";
import { tabMemory } from "./tab_memory.js";

const NEAR_END_PX = 60;
const MARKED_MS = 4000;

/** Shows exchanges. */
export class ChatLog {
  /** @param {{conversation: () => string | null} & import("./exchange.js").ExchangeActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {Map<number, ExchangeView>} */
    this.answered = new Map(); // those of the history, by the number of the answer's message
    /** @type {ExchangeView[]} */
    this.views = []; // those that are shown
    this.isIdle = true;
    this.scrollsWithAnswer = true;
    this.log = h("div", { class: "ipyllm-log", role: "log", "aria-label": "Chat", tabindex: 0, scroll: () => {
      this.scrollsWithAnswer = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_END_PX;
      this.newest.hidden = this.scrollsWithAnswer;
    } });
    this.keys = new MessageKeys(this.log);
    // Exchanges get their sizes when they are in sight, and the log its own when questions wait or the composer grows.
    this.sizes = new ResizeObserver(() => this.follow());
    this.newest = h("button", { type: "button", class: "ipyllm-button ipyllm-newest", hidden: true, click: () => this.scrollToEnd() }, "To the newest");
    this.element = h("div", { class: "ipyllm-middle" }, this.log, this.newest);
  }

  clear() {
    this.draw([]);
  }

  /** Read the messages of a history; `show` shows them. @param {any[]} messages @param {{call_id: string | null, question: number, versions: string[]}[]} answers */
  read(messages, answers) {
    this.answered.clear();
    const byQuestion = new Map(answers.map((answer) => [answer.question, answer]));
    /** @type {string[]} */
    let questions = [], known = byQuestion.get(-1);
    for (const [at, { role, content, html, status }] of messages.entries()) {
      if (role === "user") questions.push(textOf(content));
      known = byQuestion.get(at) ?? known;
      if (role !== "assistant" || html === undefined) continue;
      const view = this.newView(questions.join("\n\n"));
      view.update({ part: "text", from: 0, blocks: [html], tail: "" });
      view.end({ content: textOf(content) });
      view.setCall(known?.call_id ?? null, known?.versions ?? []);
      if (status === "cancelled") view.showError(STOPPED);
      this.answered.set(at, view);
      questions = [];
    }
  }

  /** @param {string} question @param {number} [elapsed] seconds since it was asked */
  newView(question, elapsed) {
    const view = new ExchangeView(question, this.actions, elapsed);
    view.setIdle(this.isIdle);
    return view;
  }

  /** Show the history with the questions that have no answer. @param {ExchangeView | null} running what comes after it, or in the place of an answer */
  show(running) {
    let views = [...this.answered.values()];
    for (const question of tabMemory.unanswered(this.actions.conversation()).reverse()) {
      const at = views.findIndex(({ call }) => call === question.after);
      if (question.after !== null && at < 0) continue; // it belongs to another version
      const view = this.newView(question.text);
      view.replaces = question.replaces ?? null;
      view.end({ summary: question.summary });
      this.showUnanswered(view, question);
      const replaced = views.find(({ call }) => call !== null && call === view.replaces);
      if (replaced) view.showReplaced(replaced.question);
      views.splice(at + 1, 0, view);
    }
    if (running) views = [...this.before(running.replaces, views), running];
    this.draw(views);
    this.scrollToEnd();
  }

  /** @param {string | null} call of an answer, or null @param {ExchangeView[]} views @returns {ExchangeView[]} those before it; for null all */
  before(call, views) {
    const at = call === null ? -1 : views.findIndex((view) => view.call === call);
    return at < 0 ? views : views.slice(0, at);
  }

  /** @param {ExchangeView[]} views */
  draw(views) {
    this.views = views;
    if (views.length) this.log.replaceChildren(...views.map((view) => view.element));
    else this.log.replaceChildren(h("p", { class: "ipyllm-nothing" }, "Ask a question to begin."));
    this.sizes.disconnect();
    for (const element of [this.log, ...views.map((view) => view.element)]) this.sizes.observe(element);
    this.keys.refresh();
  }

  /** @param {boolean} idle whether a question can be asked */
  setIdle(idle) {
    this.isIdle = idle;
    for (const view of this.views) view.setIdle(idle);
    this.keys.refresh();
  }

  /** @param {(string | null)[]} summaries of the messages of the history */
  summarise(summaries) {
    for (const [at, view] of this.answered) view.summarise(summaries[at] ?? "");
    this.keys.refresh();
  }

  /** Show a question whose answer is awaited, in the place of another if it replaces that. @param {string} question @param {string | null} replaces @param {number} [elapsed] seconds since it was asked */
  begin(question, replaces, elapsed) {
    const view = this.newView(question, elapsed);
    view.replaces = replaces;
    view.after = this.lastCall;
    view.calls = this.views.find(({ call }) => call !== null && call === replaces)?.calls ?? [];
    this.draw([...this.before(replaces, this.views), view]);
    return view;
  }

  /** The call of the last answer that is shown; null if there is none. @returns {string | null} */
  get lastCall() {
    return this.views.filter(({ call }) => call !== null).at(-1)?.call ?? null;
  }

  /** The call of the last answer of the history that was read. @returns {string | null} */
  get lastRead() {
    return [...this.answered.values()].at(-1)?.call ?? null;
  }

  /** @param {ExchangeView} view */
  remove(view) {
    this.draw(this.views.filter((other) => other !== view));
  }

  /** The last question has no answer: keep it. @param {ExchangeView} view @param {string} error @param {string} [summary] */
  addUnanswered(view, error, summary) {
    const question = { text: view.question, error, after: view.after, replaces: view.replaces, summary };
    this.keepUnanswered(question);
    this.showUnanswered(view, question);
  }

  /** @param {ExchangeView} view @param {import("./tab_memory.js").Unanswered} question */
  showUnanswered(view, question) {
    view.element.classList.add("ipyllm-unanswered");
    view.drop = () => {
      this.remove(view);
      this.forgetUnanswered(question.text, question.error);
    };
    view.showError(question.error);
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
    this.draw(this.views.slice(0, -1));
  }

  /** Edit the last question. */
  editLast() {
    this.views.at(-1)?.edit(this.actions.focusComposer);
  }

  /** @param {ExchangeView} view @returns {{at: number, top: number}} where it stands */
  placeOf(view) {
    return { at: this.views.indexOf(view), top: this.topOf(view) };
  }

  /** Let the exchange at a place stand where another stood. @param {{at: number, top: number}} place @param {boolean} later whether it is a later version */
  async keepPlace({ at, top }, later) {
    const view = this.views[at];
    if (!view) return;
    view.versions.focus(later);
    this.scrollsWithAnswer = false;
    for (let frame = 0; frame < 3; frame += 1) { // they get their sizes when they are in sight
      this.log.scrollTop += this.topOf(view) - top;
      await new Promise(requestAnimationFrame);
    }
  }

  /** @param {ExchangeView} view @returns {number} pixels between the top of the log and its own */
  topOf(view) {
    return view.element.getBoundingClientRect().top - this.log.getBoundingClientRect().top;
  }

  /** Scroll to the first exchange with what was searched, and mark it. @param {string} query */
  showFound(query) {
    const plain = (/** @type {string} */ text) => text.split(/\s+/).join(" ").trim().toLowerCase();
    const wanted = plain(query), found = wanted && this.views.find(({ element, question }) => plain(`${question} ${element.textContent}`).includes(wanted))?.element;
    if (!found) return;
    this.scrollsWithAnswer = false;
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
