// The view of a turn: a question and its answer.

import { button, copyButton, h, shownText } from "../dom.js";
import { FilesView } from "../files.js";
import { PartView } from "../part.js";
import { WaitingLine } from "../waiting.js";
import { editForm } from "./edit_form.js";
import { QuestionText } from "./question_text.js";
import { TokensView } from "./tokens.js";
import { VersionSwitch } from "./version_switch.js";

/**
 * @typedef {import("../reducer.js").Turn} Turn
 * @typedef {{insertCode: ((code: string) => void) | null, resume: (id: string) => void, rate: (id: string, feedback: string) => void, regenerate: (id: string) => void, edit: (id: string, text: string) => Promise<boolean>,
 *   select: (id: string, branch: number) => void, remove: (id: string) => void,
 *   requestText: (id: string, part: "question" | "answer" | "tokens" | "file", then: (text: string) => void, file?: number) => void}} TurnActions
 */

/** Shows one turn; an update touches only what has changed. */
export class TurnView {
  /** @param {string} id @param {TurnActions} actions */
  constructor(id, actions) {
    this.id = id;
    this.actions = actions;
    /** @type {Turn | null} */
    this.turn = null;
    this.startedAt = performance.now();
    this.waitingLine = new WaitingLine();
    this.question = new QuestionText((then) => this.withText(then));
    this.images = h("div", { class: "ipyllm-images" });
    this.files = new FilesView((at, then) => actions.requestText(id, "file", then, at));
    this.versions = new VersionSwitch((version) => actions.select(id, version));
    this.copyQuestion = copyButton("Copy question", (copy) => this.withText(copy));
    this.questionActions = h(
      "div",
      { class: "ipyllm-actions", role: "toolbar", "aria-label": "Question" },
      this.versions.element,
      button("edit", "Edit and ask again", () => this.edit()),
      this.copyQuestion,
      button("delete", "Delete question and answer", () => actions.remove(id)),
    );
    this.bubble = h("div", { class: "ipyllm-bubble" }, this.images, this.question.words, this.question.unfoldButton, this.files.element);
    const reasoning = h("div");
    this.reasoning = h("details", { class: "ipyllm-reasoning" }, h("summary", {}, "Reasoning"), reasoning);
    const tools = h("div"), text = h("div", { class: "ipyllm-text" });
    /** @type {Record<string, PartView>} */
    this.parts = { reasoning: new PartView(reasoning), tools: new PartView(tools), text: new PartView(text, actions.insertCode) };
    this.waiting = h("div", { class: "ipyllm-footer ipyllm-waiting", "aria-hidden": "true" });
    this.note = h("div", { class: "ipyllm-footer ipyllm-note", dir: "auto" });
    this.error = h("div", { class: "ipyllm-error" });
    this.footer = h("span", { class: "ipyllm-footer" });
    this.copyAnswer = copyButton("Copy answer", (copy) => (this.gone ? copy(shownText(text)) : actions.requestText(id, "answer", copy)));
    this.regenerateButton = button("regenerate", "Answer again", () => actions.regenerate(id));
    this.resumeButton = h("button", { type: "button", class: "ipyllm-button ipyllm-resume", "data-idle": true, click: () => actions.resume(id) }, "Continue");
    const thumb = (/** @type {"good" | "bad"} */ name, /** @type {string} */ label) =>
      button(name, label, () => actions.rate(id, this.turn?.feedback === name ? "" : name), "ipyllm-icon ipyllm-thumb");
    this.rateButtons = { good: thumb("good", "Good answer"), bad: thumb("bad", "Bad answer") };
    this.thumbs = h("span", { class: "ipyllm-thumbs", role: "group", "aria-label": "What you think of this answer" }, this.rateButtons.good, this.rateButtons.bad);
    this.foot = h("div", { class: "ipyllm-foot", role: "toolbar", "aria-label": "Answer" }, this.footer, this.resumeButton, h("span", { class: "ipyllm-actions" }, this.copyAnswer, this.regenerateButton, this.thumbs));
    this.element = h(
      "article",
      { class: "ipyllm-exchange", "data-turn": id },
      h("div", { class: "ipyllm-question" }, h("span", { class: "ipyllm-away" }, "You: "), this.bubble, this.questionActions),
      h(
        "div",
        { class: "ipyllm-reply" },
        h("span", { class: "ipyllm-away" }, "Model: "),
        this.note, this.reasoning, tools, text, this.waiting, this.error, this.foot,
      ),
    );
    this.tokens = new TokensView(text, (then) => actions.requestText(id, "tokens", then));
    this.footer.after(this.tokens.button);
    for (const action of this.element.querySelectorAll("[role=toolbar] button")) action.tabIndex = -1; // see MessageKeys
  }

  /**
   * @param {Turn} turn
   * @param {boolean} idle whether nothing is running, so that the turn may be changed
   * @param {boolean} gone whether the kernel is gone
   */
  update(turn, idle, gone) {
    const before = this.turn;
    if (before === turn && this.idle === idle && this.gone === gone) return;
    this.turn = turn;
    this.idle = idle;
    this.gone = gone;
    if (before?.text !== turn.text || before?.chars !== turn.chars) this.question.update(turn.text, turn.chars);
    if (before?.images !== turn.images) this.showImages(turn.images);
    this.files.update(turn.files);
    this.versions.update(turn.branch, idle);
    for (const [name, view] of Object.entries(this.parts)) view.update(turn.parts[name] ?? { blocks: [], tail: "" });
    const interrupted = gone && turn.status === "running";
    const running = turn.status === "running" && !interrupted;
    if (running && before?.status !== "running") this.startedAt = performance.now(); // it may go on after a while
    this.element.classList.toggle("ipyllm-running", running);
    const text = turn.parts.text, reasoning = turn.parts.reasoning;
    this.reasoning.hidden = !reasoning;
    this.waiting.hidden = !running;
    this.waitingLine.update(turn.waiting);
    this.tick();
    this.foot.hidden = running;
    this.tokens.update(Boolean(turn.tokens) && !running && !gone, `${turn.branch}/${turn.footer}`);
    this.note.textContent = turn.note;
    this.note.hidden = !turn.note;
    this.footer.textContent = interrupted ? `${turn.footer} · the kernel stopped before the end` : turn.footer;
    this.error.hidden = running || !(turn.error || !text);
    if (!this.error.hidden) this.showError(turn, idle);
    this.copyAnswer.hidden = !text;
    this.resumeButton.hidden = !turn.resumable || gone;
    this.regenerateButton.hidden = !this.error.hidden;
    this.thumbs.hidden = turn.feedback === null || !text || gone;
    for (const [name, thumb] of Object.entries(this.rateButtons)) thumb.setAttribute("aria-pressed", String(turn.feedback === name));
    for (const action of this.element.querySelectorAll("button[data-idle], .ipyllm-actions button")) action.disabled = !idle && action !== this.copyAnswer && action !== this.copyQuestion && !this.thumbs.contains(action);
  }

  /** What it does, in a sentence for screen readers; empty if it has ended. */
  get state() {
    if (this.waiting.hidden || !this.turn) return "";
    const { text, reasoning } = this.turn.parts;
    if (text) return "The answer has begun.";
    return reasoning ? "The model is reasoning." : `The answer has not begun: ${this.waitingLine.announcement || "waiting"}.`;
  }

  /** Show the elapsed time; called once a second while the answer streams. */
  tick() {
    if (this.waiting.hidden || !this.turn) return;
    const now = performance.now(), seconds = Math.floor((now - this.startedAt) / 1000);
    const { text, reasoning } = this.turn.parts;
    const line = text || reasoning ? "" : this.waitingLine.text(now);
    const activity = line || (text ? "answering" : reasoning ? "thinking" : "waiting");
    this.waiting.textContent = [this.turn.footer, activity, line || !seconds ? "" : `${seconds} s`].filter(Boolean).join(" · ");
  }

  /** @param {(text: string) => void} then */
  withText(then) {
    if (!this.turn) return;
    // The kernel counts code points; JavaScript strings count UTF-16 units.
    if ([...this.turn.text].length >= this.turn.chars) then(this.turn.text);
    else this.actions.requestText(this.id, "question", then);
  }

  /** @param {string[]} addresses */
  showImages(addresses) {
    this.images.replaceChildren(...addresses.map((src, at) => h("img", { src, alt: `Image ${at + 1} of the question` })));
    this.images.hidden = !addresses.length;
  }

  /** @param {Turn} turn @param {boolean} idle */
  showError(turn, idle) {
    const { reasoning, tools } = turn.parts;
    const stopped = reasoning ? "Stopped while it was reasoning." : tools ? "Stopped while a tool ran." : "Stopped before the first word.";
    const message = turn.error ?? (turn.status === "ok" ? "The answer is empty." : stopped);
    const retry = h("button", { type: "button", class: "ipyllm-button", "data-idle": true, click: () => this.actions.regenerate(this.id) }, "Try again");
    retry.disabled = !idle;
    this.error.classList.toggle("ipyllm-mild", !turn.error);
    this.error.replaceChildren(h("span", { dir: "auto" }, message), retry);
  }

  /**
   * @param {string} [draft] the edited text, if it is not the question itself
   * @param {() => void} [giveBack] gives the focus back to where it was, if that was not the button
   */
  edit(draft, giveBack = () => this.questionActions.querySelector("button[title^='Edit']")?.focus()) {
    this.withText((full) => {
      const text = draft ?? full;
      const close = () => {
        form.element.replaceWith(this.bubble);
        this.questionActions.hidden = false;
        giveBack();
      };
      const form = editForm(text, { close, save: async (edited) => {
        close();
        if (!(await this.actions.edit(this.id, edited))) this.edit(edited, giveBack); // keeps what was typed
      } });
      this.bubble.replaceWith(form.element);
      this.questionActions.hidden = true;
      form.focus();
    });
  }
}
