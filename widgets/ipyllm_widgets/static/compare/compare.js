// The comparison view: the compared models, the rounds of questions and answers, a composer, the ranking.

import { h, setHtml } from "../dom.js";
import { menuButton } from "../menu.js";
import { cellInserter } from "../new_cell.js";
import { LiveView, rendererOf } from "../view.js";
import { Composer, readFiles, UNREADABLE_FILE } from "../composer.js";
import { QueueView } from "../queue.js";
import { ModelList } from "./model_list.js";
import { RoundView } from "./round.js";
import { SettingsPanel } from "../settings.js";

const EXPORT_FORMATS = { md: "Markdown", json: "JSON" };
const NEAR_END_PX = 60;

/** One view of a comparison. */
class CompareView extends LiveView {
  /** @param {import("../commands.js").Model} model @param {HTMLElement} root */
  constructor(model, root) {
    super(model, root);
    /** @type {Map<string, RoundView>} */
    this.views = new Map();
    this.scrollsWithAnswer = true; // false while the reader has scrolled up
    this.rankingHtml = "";
    this.modelList = new ModelList((arms) => this.ask("set", { arms }), (message) => this.showError(message));
    this.settings = new SettingsPanel((changes) => this.ask("set", changes), (params) => this.commands.send("set", { params }));
    this.composer = new Composer({
      send: (text, files) => this.send(text, files),
      stop: () => this.stop(),
      queues: true,
      placeholder: "Ask all of them …",
      editLast: () => this.lastRound()?.withPrompt((text) => this.composer.restore(text, [])),
      obstacle: () => this.commands.obstacle,
      draft: (text, counts) => this.tellDraft(text, counts),
      listPrompts: () => void this.commands.send("prompts").then((error) => error && this.showError(error)),
      promptText: (name, then) => void this.ask("prompt", { name }, then),
      showError: (message) => this.showError(message),
      limits: () => this.state.settings.limits,
    });
    this.queue = new QueueView({
      takeBack: (id) => this.ask("unqueue", { question: id }, (text, files) => {
        this.composer.restore(text, files);
        this.composer.input.focus();
      }),
      sendNext: () => this.ask("send_next"),
    });
    this.actions = {
      insertCode: cellInserter(model, root),
      stop: (/** @type {string} */ mark, /** @type {number} */ question) => this.ask("stop", { mark, question }),
      regenerate: (/** @type {string} */ mark, /** @type {number} */ question) => this.ask("regenerate", { mark, question }),
      vote: (/** @type {string} */ which, /** @type {number} */ question) => this.ask("vote", { which, question }),
      requestText: (/** @type {number} */ question, /** @type {string | null} */ mark, /** @type {(text: string) => void} */ then) =>
        this.ask("text", mark === null ? { question } : { question, mark }, then),
      requestFile: (/** @type {number} */ question, /** @type {number} */ file, /** @type {(text: string) => void} */ then) => this.ask("text", { question, file }, then),
    };
    // Rounds grow after they are drawn: when an image has loaded, a fold is opened, or columns are arranged anew.
    this.resizeObserver = new ResizeObserver(() => this.keepAtEnd());
    this.mount(this.build(), () => this.views.forEach((view) => view.tick()));
  }

  build() {
    this.rounds = h("div", { class: "ipyllm-rounds", role: "region", "aria-label": "Questions and answers", tabindex: 0 });
    this.rounds.addEventListener("scroll", () => {
      this.scrollsWithAnswer = this.rounds.scrollHeight - this.rounds.scrollTop - this.rounds.clientHeight < NEAR_END_PX;
    });
    this.ranking = h("div", { class: "ipyllm-ranking" });
    this.rankingFold = h("details", { open: true }, h("summary", {}, "Ranking by the votes of this kernel"), this.ranking);
    this.blind = h("input", { type: "checkbox", change: () => this.ask("set", { blind: this.blind.checked }) });
    this.multiTurn = h("input", { type: "checkbox", change: () => this.ask("set", { multi_turn: this.multiTurn.checked }) });
    const toggle = h("button", { type: "button", class: "ipyllm-button", "aria-expanded": "false", click: () => {
      const open = this.settings.element.hidden;
      this.settings.element.hidden = !open;
      toggle.setAttribute("aria-expanded", String(open));
    } }, "Settings for all");
    this.exportMenu = menuButton("Export", EXPORT_FORMATS, (format) => this.ask("export", { format }));
    this.clear = h("button", { type: "button", class: "ipyllm-button", title: "Remove all rounds; the votes stay", hidden: true, click: async () => {
      if (await this.ask("clear")) return;
      this.composer.input.focus();
      this.offerUndo("The rounds were removed; the votes stay in the ledger.", () => this.ask("undo_clear"));
    } }, "Clear");
    return h(
      "section",
      {
        class: "ipyllm-widget ipyllm-compare",
        "aria-label": "Comparison of language models",
        keydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event),
      },
      h("div", { class: "ipyllm-head" }, this.modelList.element, h("div", { class: "ipyllm-options" },
        h("label", { title: "Each model is sent its own earlier answers too" }, this.multiTurn, " Follow-up questions"),
        h("label", {}, this.blind, " Blind: no names, order shuffled"), toggle, this.exportMenu, this.clear)),
      this.settings.element,
      this.rounds,
      this.status,
      this.notice,
      this.hint,
      this.undo,
      this.queue.element,
      this.composer.element,
      h("div", { class: "ipyllm-totals" }, this.estimate),
      this.rankingFold,
    );
  }

  /** Escape stops, or leaves the text box; then a letter votes. @param {KeyboardEvent} event */
  onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape" && !event.defaultPrevented) {
      if (this.state.running) this.stop();
      else if (target === this.composer.input) this.lastRound()?.element.focus();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, textarea, select, [role=menuitem]")) return;
    const round = [...this.views.values()].find((view) => view.element.contains(target)) ?? this.lastRound();
    if (round?.press(event.key)) event.preventDefault();
  }

  draw() {
    super.draw();
    const { order, turns, settings } = this.state;
    const gone = this.commands.gone, running = gone ? null : this.state.running;
    const questions = order.filter((/** @type {string} */ id) => Array.isArray(turns.get(id).columns));
    for (const [id, view] of this.views) {
      if (questions.includes(id)) continue;
      this.resizeObserver.unobserve(view.element);
      view.close();
      this.views.delete(id);
    }
    for (const id of questions) {
      let view = this.views.get(id);
      if (!view) {
        view = new RoundView(this.actions);
        this.views.set(id, view);
        this.rounds.append(view.element);
        this.resizeObserver.observe(view.element);
      }
      view.update(turns.get(id), turns, { running, gone, last: id === questions[questions.length - 1] });
    }
    this.estimateAnew(JSON.stringify([settings.arms, settings.multiTurn, settings.system, order.length]));
    this.modelList.update(settings.arms, settings.models);
    this.settings.update({ model: "", models: [], system: "", params: {}, conversation: "", limits: { image: 0, images: 0 }, ...settings });
    this.blind.checked = settings.blind === true;
    this.multiTurn.checked = settings.multiTurn === true;
    this.clear.hidden = this.exportMenu.hidden = !questions.length;
    this.composer.setRunning(running !== null);
    this.queue.update(settings.queue ?? [], running === null && !gone);
    this.drawRanking();
    const last = this.lastRound(), columns = [...(last?.views.values() ?? [])];
    const begun = columns.filter((view) => view.hasBegun).length;
    this.announce(running, begun ? `${begun} of ${columns.length} answers have begun.` : "Waiting for the answers.", () => "All answers have ended.");
    this.keepAtEnd();
  }

  /** @param {string} message */
  onKernelGone(message) {
    super.onKernelGone(`${message} The rounds come back with it.`);
  }

  drawRanking() {
    const { totals } = this.state;
    this.rankingFold.hidden = !totals;
    if (totals === this.rankingHtml) return;
    this.rankingHtml = totals;
    setHtml(this.ranking, totals);
  }

  /** Keep the end visible, unless the reader has scrolled away. */
  keepAtEnd() {
    if (this.scrollsWithAnswer) this.rounds.scrollTop = this.rounds.scrollHeight;
  }

  /** @returns {RoundView | undefined} */
  lastRound() {
    return [...this.views.values()].pop();
  }

  stop() {
    this.ask("stop", { question: this.state.settings.question });
  }

  close() {
    this.resizeObserver.disconnect();
    this.views.forEach((view) => view.close());
    super.close();
  }

  /** @param {string} prompt @param {File[]} files */
  async send(prompt, files) {
    this.showError("");
    this.hideUndo();
    this.estimate.textContent = "";
    this.scrollsWithAnswer = true;
    const error = this.modelList.rejected
      ? "A model or its parameters cannot be used: correct or remove it first."
      : await this.post(prompt, files);
    if (error) {
      this.showError(error);
      this.composer.restore(prompt, files);
    }
  }

  /** @param {string} prompt @param {File[]} files @returns {Promise<string | null>} the error, or null */
  async post(prompt, files) {
    const read = await readFiles(files);
    return read ? this.commands.send("ask", { prompt, files: read.names }, read.buffers) : UNREADABLE_FILE;
  }
}

export default { render: rendererOf(CompareView) };
