// The comparison view: the compared models, a composer, one column per answer, and a vote.

import { h, setHtml } from "../dom.js";
import { LiveView, rendererOf } from "../view.js";
import { ColumnView } from "./column.js";
import { Composer } from "../composer.js";
import { ModelList } from "./model_list.js";
import { SettingsPanel } from "../settings.js";

const MIN_COLUMN_PX = 260;

/** One view of a comparison. */
class CompareView extends LiveView {
  /** @param {import("../commands.js").Model} model @param {HTMLElement} root */
  constructor(model, root) {
    super(model, root);
    /** @type {Map<string, ColumnView>} */
    this.views = new Map();
    this.expanded = "";
    this.rankingHtml = "";
    this.voteKey = "";
    this.promptKey = "";
    this.modelList = new ModelList((arms) => this.ask("set", { arms }), (message) => this.showError(message));
    this.settings = new SettingsPanel(async (changes) => void (await this.ask("set", changes)), (message) => this.showError(message));
    this.composer = new Composer({
      send: (text) => this.send(text),
      stop: () => this.ask("stop", this.questionRef()),
      editLast: () => this.withPrompt((text) => this.composer.restore(text, [])),
      showError: (message) => this.showError(message),
      limits: () => ({ image: 0, images: 0 }),
    });
    this.composer.input.placeholder = "Ask all of them …";
    this.actions = {
      stop: (/** @type {string} */ mark) => this.ask("stop", { mark, ...this.questionRef() }),
      expand: (/** @type {string} */ id) => {
        this.expanded = this.expanded === id ? "" : id;
        this.draw();
      },
      requestSource: (/** @type {string} */ mark, /** @type {(text: string) => void} */ then) => this.ask("text", { mark, ...this.questionRef() }, then),
    };
    this.resizeObserver = new ResizeObserver(() => this.arrange());
    this.mount(this.build(), () => this.views.forEach((view) => view.tick()));
    this.resizeObserver.observe(this.columns);
  }

  build() {
    this.columns = h("div", { class: "ipyllm-columns-live" });
    this.prompt = h("div", { class: "ipyllm-prompt", dir: "auto", tabindex: 0, role: "region", "aria-label": "Question" });
    this.unfoldButton = h("button", { type: "button", class: "ipyllm-link ipyllm-more", hidden: true, click: () => this.withPrompt((text) => {
      this.prompt.textContent = text;
      this.unfoldButton.hidden = true;
    }) });
    this.vote = h("div", { class: "ipyllm-vote", role: "group", "aria-label": "Which answer is better?" });
    this.ranking = h("div", { class: "ipyllm-ranking" });
    this.rankingFold = h("details", { open: true }, h("summary", {}, "Ranking by the votes of this kernel"), this.ranking);
    this.blind = h("input", { type: "checkbox", change: () => this.ask("set", { blind: this.blind.checked }) });
    const toggle = h("button", { type: "button", class: "ipyllm-button", "aria-expanded": "false", click: () => {
      const open = this.settings.element.hidden;
      this.settings.element.hidden = !open;
      toggle.setAttribute("aria-expanded", String(open));
    } }, "Settings for all");
    return h(
      "section",
      {
        class: "ipyllm-widget ipyllm-compare",
        "aria-label": "Comparison of language models",
        keydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key === "Escape" && this.state.running && !event.defaultPrevented) this.ask("stop", this.questionRef());
        },
      },
      h("div", { class: "ipyllm-head" }, this.modelList.element, h("div", { class: "ipyllm-options" },
        h("label", {}, this.blind, " Blind: no names, order shuffled"), toggle)),
      this.settings.element,
      this.prompt,
      this.unfoldButton,
      this.columns,
      this.status,
      this.notice,
      this.hint,
      this.vote,
      this.composer.element,
      this.rankingFold,
    );
  }

  draw() {
    super.draw();
    const { order, turns, settings } = this.state;
    const running = this.commands.gone ? null : this.state.running;
    if (!order.includes(this.expanded)) this.expanded = "";
    for (const [id, view] of this.views) {
      if (order.includes(id)) continue;
      view.element.remove();
      this.views.delete(id);
    }
    for (const id of order) {
      let view = this.views.get(id);
      if (!view) {
        view = new ColumnView(id, this.actions);
        this.views.set(id, view);
        this.columns.append(view.element);
      }
      view.update(turns.get(id), this.expanded === id, this.commands.gone);
      view.element.hidden = Boolean(this.expanded) && this.expanded !== id;
    }
    this.arrange();
    this.drawPrompt(settings);
    this.modelList.update(settings.arms, settings.models);
    this.settings.update({ model: "", models: [], system: "", params: {}, conversation: "", limits: { image: 0, images: 0 }, ...settings });
    this.blind.checked = settings.blind === true;
    this.composer.setRunning(running !== null);
    this.drawVote(order.map((/** @type {string} */ id) => turns.get(id)), settings, running);
    this.rankingFold.hidden = !this.state.totals;
    if (this.rankingHtml !== this.state.totals) {
      this.rankingHtml = this.state.totals;
      setHtml(this.ranking, this.rankingHtml);
    }
    const begun = [...this.views.values()].filter((view) => view.hasBegun).length;
    this.announce(running, begun ? `${begun} of ${order.length} answers have begun.` : "Waiting for the answers.", () => "All answers have ended.");
  }

  /** Spread the columns evenly over as few rows as fit. */
  arrange() {
    const shown = [...this.views.values()].filter((view) => !view.element.hidden).length;
    const fitting = Math.max(1, Math.floor(this.columns.clientWidth / MIN_COLUMN_PX));
    const rows = Math.ceil(shown / fitting);
    this.columns.style.setProperty("--ipyllm-columns", String(Math.ceil(shown / Math.max(rows, 1)) || 1));
  }

  /** @param {any} settings */
  drawPrompt(settings) {
    const key = `${settings.question} ${settings.chars}`;
    if (key === this.promptKey) return; // the reader may have unfolded it
    this.promptKey = key;
    this.prompt.textContent = settings.prompt ?? "";
    this.prompt.hidden = !settings.prompt;
    this.unfoldButton.hidden = !settings.chars;
    this.unfoldButton.textContent = `Show all ${Number(settings.chars).toLocaleString()} characters`;
  }

  /** Call a function with the complete question; the state holds only part of a long one. @param {(text: string) => void} then */
  async withPrompt(then) {
    const { prompt, chars } = this.state.settings;
    if (!prompt || !chars) then(prompt ?? "");
    else await this.ask("text", this.questionRef(), then);
  }

  /** The question that a click refers to: a vote may arrive after the next question was asked. */
  questionRef() {
    return { question: this.state.settings.question };
  }

  /** @param {any[]} columns @param {any} settings @param {string | null} running */
  drawVote(columns, settings, running) {
    const complete = columns.filter((column) => column.status === "ok");
    const hasEnded = !this.commands.gone && running === null && columns.some((column) => column.status);
    const canVote = hasEnded && complete.length > 1;
    const key = JSON.stringify([hasEnded, complete.map((column) => column.mark), settings.vote, settings.hidden]);
    if (key === this.voteKey) return;
    this.voteKey = key;
    this.vote.hidden = !hasEnded;
    if (!canVote) {
      this.vote.replaceChildren(h("span", {}, "A vote needs two complete answers."));
      return;
    }
    const marks = complete.map((column) => [column.mark, column.mark]);
    const choices = [...marks, ["tie", "Tie"], ["both_bad", complete.length > 2 ? "All bad" : "Both bad"]];
    const hadFocus = this.vote.contains(document.activeElement);
    const chosen = columns.find((column) => column.preferred)?.mark ?? settings.vote;
    this.vote.replaceChildren(
      h("span", {}, settings.vote ? "Your vote, stored in the ledger:" : `Which answer is better?${settings.hidden ? " The names are shown after the vote." : ""}`),
      ...choices.map(([which, name]) => h("button", {
        type: "button",
        class: `ipyllm-button${which === chosen ? " ipyllm-primary" : ""}`,
        "aria-pressed": String(which === chosen),
        click: () => this.ask("vote", { which, ...this.questionRef() }),
      }, name)),
    );
    if (hadFocus) this.vote.querySelector("[aria-pressed=true]")?.focus();
  }

  close() {
    this.resizeObserver.disconnect();
    super.close();
  }

  /** @param {string} prompt */
  async send(prompt) {
    this.showError("");
    const error = this.modelList.rejected
      ? "A model or its parameters cannot be used: correct or remove it first."
      : await this.commands.send("ask", { prompt });
    if (error) {
      this.showError(error);
      this.composer.restore(prompt, []);
    }
  }
}

export default { render: rendererOf(CompareView) };
