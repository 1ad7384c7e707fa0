// A question and its answer, as a view shows them.

import { PartView, button, copyText, h } from "./dom.js";

/**
 * @typedef {import("./reducer.js").Turn} Turn
 * @typedef {{again: (id: string) => void, edit: (id: string, text: string) => Promise<boolean>,
 *   select: (id: string, to: number) => void, remove: (id: string) => void,
 *   whole: (id: string, then: (text: string) => void) => void}} Actions
 */

const FOLD_ABOVE = 1200; // characters of a question that are shown unfolded

/** Shows one turn, and changes only what has changed. */
export class TurnView {
  /** @param {string} id @param {Actions} actions */
  constructor(id, actions) {
    this.id = id;
    this.actions = actions;
    /** @type {Turn | null} */
    this.turn = null;
    this.since = performance.now();
    this.branchKey = "";
    this.words = h("div", { class: "ipyllm-words", dir: "auto" });
    this.more = h("button", { type: "button", class: "ipyllm-link", click: () => this.unfold() });
    this.images = h("div", { class: "ipyllm-images" });
    this.branch = h("span", { class: "ipyllm-branch" });
    this.copyQuestion = button("copy", "Copy question", () => this.withText(copyText));
    this.questionTools = h(
      "div",
      { class: "ipyllm-actions" },
      this.branch,
      button("edit", "Edit and ask again", () => this.edit()),
      this.copyQuestion,
      button("delete", "Delete question and answer", () => actions.remove(id)),
    );
    this.bubble = h("div", { class: "ipyllm-bubble" }, this.images, this.words, this.more);
    const reasoning = h("div");
    this.reasoning = h("details", { class: "ipyllm-reasoning" }, h("summary", {}, "Reasoning"), reasoning);
    const tools = h("div"), text = h("div", { class: "ipyllm-text" });
    /** @type {Record<string, PartView>} */
    this.parts = { reasoning: new PartView(reasoning), tools: new PartView(tools), text: new PartView(text) };
    this.waiting = h("div", { class: "ipyllm-footer ipyllm-waiting", "aria-hidden": "true" });
    this.note = h("div", { class: "ipyllm-footer ipyllm-note", dir: "auto" });
    this.error = h("div", { class: "ipyllm-error" });
    this.footer = h("span", { class: "ipyllm-footer" });
    this.copyAnswer = button("copy", "Copy answer", () => copyText(text.innerText));
    this.againButton = button("again", "Answer again", () => actions.again(id));
    this.foot = h("div", { class: "ipyllm-foot" }, this.footer, h("span", { class: "ipyllm-actions" }, this.copyAnswer, this.againButton));
    this.element = h(
      "article",
      { class: "ipyllm-exchange", "data-turn": id },
      h("div", { class: "ipyllm-question" }, h("span", { class: "ipyllm-away" }, "You: "), this.bubble, this.questionTools),
      h(
        "div",
        { class: "ipyllm-reply" },
        h("span", { class: "ipyllm-away" }, "Model: "),
        this.note, this.reasoning, tools, text, this.waiting, this.error, this.foot,
      ),
    );
  }

  /**
   * @param {Turn} turn
   * @param {boolean} resting whether nothing is running, so that it may be changed
   * @param {boolean} gone whether the kernel is gone, so that nothing more can come
   */
  update(turn, resting, gone) {
    const before = this.turn;
    if (before === turn && this.resting === resting && this.gone === gone) return;
    this.turn = turn;
    this.resting = resting;
    this.gone = gone;
    if (before?.text !== turn.text || before?.chars !== turn.chars) this.showQuestion(turn);
    if (before?.images !== turn.images) this.showImages(turn.images);
    this.showBranch(turn.branch, resting);
    for (const [name, view] of Object.entries(this.parts)) view.update(turn.parts[name] ?? { blocks: [], tail: "" });
    const lost = gone && turn.status === "running";
    const running = turn.status === "running" && !lost;
    this.element.classList.toggle("ipyllm-running", running);
    const text = turn.parts.text, thoughts = turn.parts.reasoning;
    this.reasoning.hidden = !thoughts;
    this.waiting.hidden = !running;
    this.tick();
    this.foot.hidden = running;
    this.note.textContent = turn.note;
    this.note.hidden = !turn.note;
    this.footer.textContent = lost ? `${turn.footer} · the kernel was gone before the end` : turn.footer;
    this.error.hidden = running || !(turn.error || (turn.status === "cancelled" && !text));
    if (!this.error.hidden) this.showError(turn, resting);
    this.copyAnswer.hidden = !text;
    this.againButton.hidden = !this.error.hidden;
    for (const tool of this.element.querySelectorAll("button[data-rest], .ipyllm-actions button")) tool.disabled = !resting && tool !== this.copyAnswer && tool !== this.copyQuestion;
  }

  /** Say how long we have waited; called each second while it runs. */
  tick() {
    if (this.waiting.hidden || !this.turn) return;
    const seconds = Math.floor((performance.now() - this.since) / 1000);
    const { text, reasoning } = this.turn.parts;
    const doing = text ? "answering" : reasoning ? "thinking" : "waiting";
    this.waiting.textContent = [this.turn.footer, doing, seconds ? `${seconds} s` : ""].filter(Boolean).join(" · ");
  }

  /** @param {Turn} turn */
  showQuestion(turn) {
    const long = turn.chars > FOLD_ABOVE;
    this.words.textContent = long ? `${[...turn.text].slice(0, FOLD_ABOVE).join("")} …` : turn.text;
    this.words.hidden = !turn.text;
    this.more.hidden = !long;
    this.more.textContent = `Show all ${turn.chars.toLocaleString()} characters`;
  }

  unfold() {
    this.withText((text) => {
      this.words.textContent = text;
      this.more.hidden = true;
    });
  }

  /** @param {(text: string) => void} then */
  withText(then) {
    if (!this.turn) return;
    // The kernel counts characters; in a JavaScript string those beyond the first plane have length two.
    if ([...this.turn.text].length >= this.turn.chars) then(this.turn.text);
    else this.actions.whole(this.id, then);
  }

  /** @param {string[]} addresses */
  showImages(addresses) {
    this.images.replaceChildren(...addresses.map((src, at) => h("img", { src, alt: `Image ${at + 1} of the question` })));
    this.images.hidden = !addresses.length;
  }

  /** @param {[number, number]} branch @param {boolean} resting */
  showBranch([at, of], resting) {
    const key = `${at}/${of}/${resting}`;
    if (this.branchKey === key) return;
    this.branchKey = key;
    this.branch.hidden = of < 2;
    const before = button("left", "Earlier version", () => this.actions.select(this.id, at - 1));
    const after = button("right", "Later version", () => this.actions.select(this.id, at + 1));
    const which = h("span", { "aria-label": `Version ${at} of ${of}`, role: "img" }, `${at}/${of}`);
    this.branch.replaceChildren(...(at > 1 ? [before] : []), which, ...(at < of ? [after] : []));
  }

  /** @param {Turn} turn @param {boolean} resting */
  showError(turn, resting) {
    const sentence = turn.error ?? "Stopped before anything came.";
    const retry = h("button", { type: "button", class: "ipyllm-button", "data-rest": true, click: () => this.actions.again(this.id) }, "Try again");
    retry.disabled = !resting;
    this.error.classList.toggle("ipyllm-mild", !turn.error);
    this.error.replaceChildren(h("span", { dir: "auto" }, sentence), retry);
  }

  /** @param {string} [draft] what was written before, if not the question itself */
  edit(draft) {
    this.withText((whole) => {
      const text = draft ?? whole;
      const area = h("textarea", { class: "ipyllm-input", "aria-label": "Edit the question", dir: "auto", rows: 3 });
      area.value = text;
      const close = () => {
        form.replaceWith(this.bubble);
        this.questionTools.hidden = false;
        this.questionTools.querySelector("button[title^='Edit']")?.focus();
      };
      const save = async () => {
        close();
        if (!(await this.actions.edit(this.id, area.value))) this.edit(area.value); // what was written is not lost
      };
      area.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
        if (event.isComposing) return;
        if (event.key === "Escape") close();
        else if (event.key === "Enter" && !event.shiftKey) save();
        else return;
        event.preventDefault();
        event.stopPropagation();
      });
      const form = h(
        "div",
        { class: "ipyllm-edit" },
        area,
        h("button", { type: "button", class: "ipyllm-button ipyllm-primary", click: save }, "Ask again"),
        h("button", { type: "button", class: "ipyllm-button", click: close }, "Cancel"),
      );
      this.bubble.replaceWith(form);
      this.questionTools.hidden = true;
      area.focus();
      area.setSelectionRange(text.length, text.length);
    });
  }
}
