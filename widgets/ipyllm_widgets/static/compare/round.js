// The view of one round of a comparison: the question, one column per answer, and the vote.

import { h } from "../dom.js";
import { FilesView } from "../files.js";
import { ColumnView } from "./column.js";

const MIN_COLUMN_PX = 260;
const FOLLOWS = "↳ Follow-up: each model was sent its own earlier answers";
const NEW_LETTERS = ". The models have changed, so the letters are dealt anew";

/**
 * @typedef {{id: string, question: number, text: string, chars: number, images: string[], files: import("../reducer.js").AttachedFile[], follows: boolean, newLetters: boolean,
 *   columns: string[], vote: string | null, hidden: boolean, footer: string}} Question
 * @typedef {{stop: (mark: string, question: number) => void, regenerate: (mark: string, question: number) => void,
 *   vote: (which: string, question: number) => void,
 *   insertCode: ((code: string) => void) | null, requestText: (question: number, mark: string | null, then: (text: string) => void) => void,
 *   requestFile: (question: number, file: number, then: (text: string) => void) => void}} RoundActions
 */

/** Shows one round; an update touches only what has changed. */
export class RoundView {
  /** @param {RoundActions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {Map<string, ColumnView>} */
    this.views = new Map();
    /** @type {Question | null} */
    this.question = null;
    this.expanded = "";
    this.voteKey = "";
    /** @type {[string, string][]} what can be voted for: the key, the outcome */
    this.choices = [];
    this.follows = h("div", { class: "ipyllm-footer", hidden: true });
    this.images = h("div", { class: "ipyllm-images" });
    this.words = h("div", { class: "ipyllm-words", dir: "auto" });
    this.files = new FilesView((at, then) => actions.requestFile(this.number, at, then));
    this.prompt = h("div", { class: "ipyllm-prompt", tabindex: 0, role: "region" }, this.images, this.words, this.files.element);
    this.unfoldButton = h("button", { type: "button", class: "ipyllm-link ipyllm-more", hidden: true, click: () => this.withPrompt((text) => {
      this.words.textContent = text;
      this.unfoldButton.hidden = true;
    }) });
    this.columns = h("div", { class: "ipyllm-columns-live" });
    this.footer = h("div", { class: "ipyllm-footer ipyllm-below", hidden: true });
    this.vote = h("div", { class: "ipyllm-vote", role: "group", "aria-label": "Which answer is better?", hidden: true });
    this.element = h("div", { class: "ipyllm-round", role: "group", tabindex: -1 }, this.follows, this.prompt, this.unfoldButton, this.columns, this.footer, this.vote);
    this.columnActions = {
      insertCode: actions.insertCode,
      stop: (/** @type {string} */ mark) => actions.stop(mark, this.number),
      regenerate: (/** @type {string} */ mark) => actions.regenerate(mark, this.number),
      expand: (/** @type {string} */ id) => {
        this.expanded = this.expanded === id ? "" : id;
        this.drawColumns();
      },
      requestSource: (/** @type {string} */ mark, /** @type {(text: string) => void} */ then) => actions.requestText(this.number, mark, then),
    };
    this.resizeObserver = new ResizeObserver(() => this.arrange());
    this.resizeObserver.observe(this.columns);
  }

  /** Number of the question: a click refers to it, and may arrive after the next was asked. */
  get number() {
    return this.question?.question ?? 0;
  }

  /**
   * @param {Question} question @param {Map<string, any>} turns
   * @param {{running: string | null, gone: boolean, last: boolean}} now
   */
  update(question, turns, now) {
    if (this.question?.text !== question.text || this.question?.chars !== question.chars) {
      this.words.textContent = question.text;
      this.words.hidden = !question.text;
      this.unfoldButton.hidden = !question.chars;
      this.unfoldButton.textContent = `Show all ${Number(question.chars).toLocaleString()} characters`;
      this.element.setAttribute("aria-label", `Round ${question.question}`);
      this.prompt.setAttribute("aria-label", `Question ${question.question}`);
    }
    if (String(this.question?.images) !== String(question.images)) {
      this.images.replaceChildren(...question.images.map((src, at) => h("img", { src, alt: `Image ${at + 1} of the question` })));
      this.images.hidden = !question.images.length;
    }
    this.files.update(question.files ?? []);
    this.question = question;
    this.turns = turns;
    this.now = now;
    this.element.classList.toggle("ipyllm-earlier", !now.last);
    this.follows.hidden = !question.follows;
    this.follows.textContent = FOLLOWS + (question.newLetters ? NEW_LETTERS : "");
    this.footer.textContent = question.footer;
    this.footer.hidden = !question.footer;
    this.drawColumns();
    this.drawVote();
  }

  drawColumns() {
    if (!this.question || !this.turns || !this.now) return;
    const ids = this.question.columns.filter((id) => this.turns?.has(id));
    if (!ids.includes(this.expanded)) this.expanded = "";
    for (const [id, view] of this.views) {
      if (ids.includes(id)) continue;
      view.element.remove();
      this.views.delete(id);
    }
    let at = this.columns.firstElementChild;
    for (const id of ids) {
      let view = this.views.get(id);
      if (!view) {
        view = new ColumnView(id, this.columnActions);
        this.views.set(id, view);
      }
      if (at && view.element === at) at = at.nextElementSibling;
      else this.columns.insertBefore(view.element, at);
      const canRegenerate = this.now.last && this.now.running === null && !this.now.gone;
      view.update(this.turns.get(id), { expanded: this.expanded === id, gone: this.now.gone, canRegenerate });
      view.element.hidden = Boolean(this.expanded) && this.expanded !== id;
    }
    this.arrange();
  }

  /** Spread the columns evenly over as few rows as fit. */
  arrange() {
    const shown = [...this.views.values()].filter((view) => !view.element.hidden).length;
    const fitting = Math.max(1, Math.floor(this.columns.clientWidth / MIN_COLUMN_PX));
    const perRow = Math.ceil(shown / Math.max(Math.ceil(shown / fitting), 1)) || 1;
    this.columns.style.setProperty("--ipyllm-columns", String(perRow));
    this.columns.classList.toggle("ipyllm-stacked", perRow === 1 && shown > 1); // they scroll with the rounds
  }

  /** Call a function with the complete question; the state holds only part of a long one. @param {(text: string) => void} then */
  withPrompt(then) {
    if (!this.question?.chars) then(this.question?.text ?? "");
    else this.actions.requestText(this.number, null, then);
  }

  drawVote() {
    if (!this.question || !this.now) return;
    const { columns: ids, vote, hidden } = this.question;
    const columns = ids.map((id) => this.turns?.get(id)).filter(Boolean);
    const complete = columns.filter((column) => column.status === "ok");
    const ended = !this.now.gone && columns.length > 0 && columns.every((column) => column.status && column.status !== "running");
    const key = JSON.stringify([ended, complete.map((column) => column.mark), vote, hidden]);
    if (key === this.voteKey) return;
    this.voteKey = key;
    this.vote.hidden = !ended;
    this.choices = [];
    if (!ended || complete.length < 2) {
      this.vote.replaceChildren(h("span", {}, "A vote needs two complete answers."));
      return;
    }
    const named = [...complete.map((column) => [column.mark, column.mark, column.mark]), ["T", "tie", "Tie"], ["X", "both_bad", complete.length > 2 ? "All bad" : "Both bad"]];
    if (vote) named.push(["0", "none", "No vote"]);
    this.choices = named.map(([press, which]) => [press, which]);
    const hadFocus = this.vote.contains(document.activeElement);
    const chosen = columns.find((column) => column.preferred)?.mark ?? vote;
    this.vote.replaceChildren(
      h("span", {}, vote ? "Your vote, stored in the ledger:" : `Which answer is better?${hidden ? " The names are shown after the vote." : ""}`),
      ...named.map(([press, which, name]) => h("button", {
        type: "button",
        class: `ipyllm-button${which === chosen ? " ipyllm-primary" : ""}`,
        ...(which === "none" ? {} : { "aria-pressed": String(which === chosen) }),
        "aria-keyshortcuts": press,
        title: `Key ${press}`,
        click: () => this.actions.vote(which, this.number),
      }, name)),
    );
    if (hadFocus) (this.vote.querySelector("[aria-pressed=true]") ?? this.vote.querySelector("button"))?.focus();
  }

  /** Vote by a key. @param {string} key @returns {boolean} whether the key means something here */
  press(key) {
    const which = outcomeOf(key, this.choices);
    if (which !== null) this.actions.vote(which, this.number);
    return which !== null;
  }

  tick() {
    this.views.forEach((view) => view.tick());
  }

  close() {
    this.resizeObserver.disconnect();
    this.element.remove();
  }
}

/**
 * @param {string} key
 * @param {[string, string][]} choices keys and what they vote for; the first of a key counts
 * @returns {string | null} what is voted for
 */
export function outcomeOf(key, choices) {
  return choices.find(([press]) => press === key.toUpperCase())?.[1] ?? null;
}
