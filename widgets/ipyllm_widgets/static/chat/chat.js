// The chat view: a log of turns, a composer, settings.

import { button, h } from "../dom.js";
import { menuButton } from "../menu.js";
import { cellInserter } from "../new_cell.js";
import { LiveView, rendererOf } from "../view.js";
import { ConversationsPanel, markOpener } from "./conversations.js";
import { MessageKeys } from "./message_keys.js";
import { QueueView } from "../queue.js";
import { TurnView } from "./turn.js";
import { Composer, readFiles, UNREADABLE_FILE } from "../composer.js";
import { SettingsPanel } from "../settings.js";

const FORMATS = { md: "Markdown", html: "Web page", ipynb: "Notebook", json: "JSON" };
const NEAR_END_PX = 60;

/** Create a button that shows and hides a panel. @param {string} label @param {any} panel @param {() => void} opened */
function foldButton(label, panel, opened) {
  const show = (/** @type {boolean} */ open) => {
    panel.hidden = !open;
    element.setAttribute("aria-expanded", String(open));
  };
  const element = h("button", { type: "button", class: "ipyllm-button", "aria-expanded": "false", click: () => {
    show(panel.hidden);
    if (!panel.hidden) opened();
  } }, label);
  panel.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
    event.preventDefault();
    show(false);
    element.focus();
  });
  return element;
}

/** One view of a chat. */
class ChatView extends LiveView {
  /** @param {import("../commands.js").Model} model @param {HTMLElement} root */
  constructor(model, root) {
    super(model, root);
    /** @type {Map<string, TurnView>} */
    this.views = new Map();
    /** @type {Set<HTMLElement>} */
    this.pending = new Set();
    this.runningSince = 0; // when the running answer began, as a snapshot tells, until it is drawn
    /** @type {string | null} */
    this.listedWith = null; // the turn that ran when the conversations were listed
    /** @type {Record<string, string>} */
    this.elsewhere = {};
    this.scrollsWithAnswer = true; // false while the reader has scrolled up
    this.settings = new SettingsPanel((changes) => this.ask("set", changes), (params) => this.commands.send("set", { params }));
    this.conversations = new ConversationsPanel({
      find: (query) => void this.commands.send("conversations", { query }),
      open: async (name, query) => (await this.switchTo({ conversation: name })) && this.showFound(query),
      rename: async (conversation, to) => {
        const error = await this.ask("rename", { conversation, to });
        this.conversations.find();
        return !error;
      },
      remove: (name) => this.forget(name),
    });
    this.composer = new Composer({
      send: (text, files) => this.send(text, files),
      stop: () => this.ask("stop"),
      editLast: () => this.editLast(),
      queues: true,
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
      resume: (/** @type {string} */ id) => this.ask("resume", { turn: id }),
      rate: (/** @type {string} */ turn, /** @type {string} */ feedback) => this.ask("rate", { turn, feedback }),
      regenerate: (/** @type {string} */ id) => this.ask("regenerate", { turn: id }),
      edit: async (/** @type {string} */ id, /** @type {string} */ text) => !(await this.ask("edit", { turn: id, text })),
      select: (/** @type {string} */ id, /** @type {number} */ branch) => this.select(id, branch),
      remove: (/** @type {string} */ id) => this.remove(id),
      requestText: (/** @type {string} */ turn, /** @type {string} */ part, /** @type {(text: string) => void} */ then, /** @type {number | undefined} */ file) => this.ask("text", file === undefined ? { turn, part } : { turn, part, file }, then),
    };
    this.settings.systemLabel.textContent = "System prompt of this conversation (the settings below hold for all)";
    // Turns grow after they are drawn: when they become visible, an image has loaded, or a fold is opened.
    this.resizeObserver = new ResizeObserver(() => this.keepAtEnd());
    this.mount(this.build(), () => this.views.get(this.state.running ?? "")?.tick());
  }

  build() {
    this.log = h("div", { class: "ipyllm-log", role: "log", "aria-live": "off", "aria-label": "Conversation", tabindex: 0 });
    this.messageKeys = new MessageKeys(this.log);
    this.log.addEventListener("scroll", () => {
      this.scrollsWithAnswer = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_END_PX;
      this.offerNewest();
    });
    this.newestButton = h("button", { type: "button", class: "ipyllm-newest ipyllm-button", hidden: true, click: () => this.scrollToEnd() }, "↓ Newest");
    this.emptyHint = h("p", { class: "ipyllm-nothing" }, "Ask something. Enter sends, Shift+Enter begins a new line, / lists your prompts.");
    this.totals = h("span", { class: "ipyllm-footer" });
    const create = h("button", { type: "button", class: "ipyllm-button", title: "Begin a conversation; this one is kept, and its answer goes on", click: () => this.switchTo({}) }, "New chat");
    this.settingsButton = foldButton("Settings", this.settings.element, () => this.settings.system.focus());
    this.news = h("div", { class: "ipyllm-away", "aria-live": "polite" });
    this.conversationsButton = foldButton("Conversations", this.conversations.element, () => {
      this.conversations.find();
      this.conversations.query.focus();
    });
    const formats = menuButton("Export", FORMATS, (format) => this.ask("export", { format }));
    const clear = h("button", { type: "button", class: "ipyllm-button", title: "Delete all questions and answers", click: () => this.clearAll() }, "Clear");
    return h(
      "section",
      {
        class: "ipyllm-widget ipyllm-chat",
        "aria-label": "Chat with a language model",
        keydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key === "Escape" && this.composer.running && !event.defaultPrevented) this.ask("stop");
          if (event.key === "F10" && event.altKey) this.toBar(event);
        },
      },
      (this.bar = h("div", { class: "ipyllm-head", "aria-keyshortcuts": "Alt+F10" }, this.settings.model, this.settings.options, this.settings.models, create, this.conversationsButton, this.settingsButton, formats, clear)),
      this.conversations.element,
      this.settings.element,
      h("div", { class: "ipyllm-middle" }, this.log, this.newestButton),
      this.status,
      this.news,
      this.notice,
      this.hint,
      this.undo,
      this.queue.element,
      this.composer.element,
      h("div", { class: "ipyllm-totals" }, this.totals, this.estimate),
    );
  }

  /** Move the focus to the bar, from there to the text box. @param {KeyboardEvent} event */
  toBar(event) {
    event.preventDefault();
    const isThere = this.bar.contains(document.activeElement);
    (isThere ? this.composer.input : /** @type {HTMLElement} */ (this.bar.querySelector("input, button"))).focus();
  }

  /** Show another conversation. @param {{conversation?: string}} which none: a new one */
  async switchTo(which) {
    this.hideUndo();
    this.composer.keepDraft();
    const error = await this.ask("switch", which);
    if (!error) this.showAnother();
    this.conversations.find();
    return !error;
  }

  /** Scroll to the first turn with what was searched, and mark it. @param {string} query */
  async showFound(query) {
    const plain = (/** @type {string | null} */ text) => (text ?? "").split(/\s+/).join(" ").trim().toLowerCase();
    const wanted = plain(query);
    if (!wanted) return;
    this.drawNow();
    const turns = this.state.order.map((/** @type {string} */ id) => this.views.get(id)?.element);
    const first = turns.find((/** @type {HTMLElement} */ element) => plain(element.textContent).includes(wanted));
    if (!first) return;
    this.scrollsWithAnswer = false;
    first.classList.add("ipyllm-found");
    setTimeout(() => first.classList.remove("ipyllm-found"), 4000);
    await this.scrollTo(() => first, 0);
  }

  /** Show the draft of the conversation that is shown now. */
  showAnother() {
    this.composer.takeAway();
    this.scrollToEnd();
    this.draftTaken = false;
    this.commands.send("hello", { seq: -1 });
  }

  /** Delete a conversation, and offer to bring it back. @param {string} name */
  async forget(name) {
    const shown = name === this.state.settings.conversation, title = this.conversations.titleOf(name);
    this.composer.keepDraft();
    if (await this.ask("forget", { conversation: name })) return;
    if (shown) this.showAnother();
    this.conversations.find();
    this.conversations.query.focus();
    this.offerUndo(`“${title}” was deleted.`, async () => {
      this.composer.keepDraft();
      const error = await this.ask("undo_forget", { conversation: name });
      if (!error) this.showAnother();
      this.conversations.find();
      return error;
    });
  }

  /** Show another version of a question where this one stands. @param {string} id @param {number} branch */
  async select(id, branch) {
    const at = this.state.order.indexOf(id), isLater = branch > (this.state.turns.get(id)?.branch[0] ?? 0);
    const turn = () => this.views.get(this.state.order[at])?.element;
    const before = this.topOf(turn());
    this.scrollsWithAnswer = false;
    if (await this.ask("select", { turn: id, branch })) return;
    this.drawNow();
    this.views.get(this.state.order[at])?.versions.focus(isLater);
    await this.scrollTo(turn, before);
  }

  /** Draw what has come, without a wait for the next frame. */
  drawNow() {
    cancelAnimationFrame(this.frame);
    this.draw();
  }

  /** @param {HTMLElement} element @returns {number} pixels between the top of the log and its own */
  topOf(element) {
    return element.getBoundingClientRect().top - this.log.getBoundingClientRect().top;
  }

  /**
   * Scroll the log until a turn stands there, again in the next frames: turns get their sizes when they are in sight.
   * @param {() => any} turn @param {number} top of it, in pixels from that of the log
   */
  async scrollTo(turn, top) {
    for (let frame = 0; frame < 3; frame += 1) {
      this.log.scrollTop += this.topOf(turn()) - top;
      await new Promise(requestAnimationFrame);
    }
  }

  /** Delete all turns, and offer to bring them back. */
  async clearAll() {
    if (!this.state.order.length || (await this.ask("clear"))) return;
    this.composer.input.focus();
    this.offerUndo("The conversation was cleared.", () => this.ask("undo_clear"));
  }

  /** Delete a turn, and offer to bring it back. @param {string} id */
  async remove(id) {
    this.composer.input.focus();
    if (await this.ask("delete", { turn: id })) return;
    this.offerUndo("The question and its answer were deleted.", () => this.ask("undo_delete", { turn: id }));
  }

  /** @param {any} message */
  receiveOther(message) {
    if (message?.kind === "snapshot") this.runningSince = performance.now() - 1000 * (message.state?.running_s ?? 0);
    if (message?.kind === "conversations" && this.commands.unacknowledged.has(String(message.nonce))) this.conversations.show(message.items);
  }

  draw() {
    super.draw();
    const { order, turns, settings } = this.state;
    const gone = this.commands.gone;
    const running = gone ? null : this.state.running;
    const idle = running === null;
    for (const [id, view] of this.views) {
      if (!turns.has(id)) {
        this.resizeObserver.unobserve(view.element);
        view.element.remove();
        this.views.delete(id);
      }
    }
    let at = this.log.firstElementChild;
    for (const id of order) {
      let view = this.views.get(id);
      if (!view) {
        view = new TurnView(id, this.actions);
        this.resizeObserver.observe(view.element);
        this.views.set(id, view);
      }
      if (at && view.element === at) at = at.nextElementSibling;
      else this.log.insertBefore(view.element, at);
      view.update(/** @type {import("../reducer.js").Turn} */ (turns.get(id)), idle, gone);
      if (id === running && this.runningSince) view.startedAt = this.runningSince;
    }
    this.runningSince = 0;
    this.emptyHint.remove();
    if (!order.length && !this.pending.size) this.log.prepend(this.emptyHint);
    this.announce(running, this.views.get(running ?? "")?.state ?? "", (id) => {
      const turn = turns.get(id);
      if (!turn) return ""; // another conversation is shown, where it goes on
      return turn.error ? `The answer failed: ${turn.error}` : `The answer has ended. ${turn.footer}`;
    });
    this.settings.update(settings);
    const set = [...(settings.system ? ["a system prompt"] : []), ...Object.keys(settings.params ?? {})];
    this.settingsButton.classList.toggle("ipyllm-set", set.length > 0);
    this.settingsButton.title = set.length ? `Set: ${set.join(", ")}` : "";
    this.estimateAnew(settings.model);
    this.showElsewhere(gone ? {} : (settings.elsewhere ?? {}));
    if (!gone && running !== this.listedWith) {
      this.listedWith = running;
      this.conversations.find();
    }
    this.composer.setRunning(!idle);
    this.queue.update(settings.queue ?? [], idle);
    this.totals.textContent = [`Conversation “${settings.conversation}”`, this.state.totals].filter(Boolean).join(" · ");
    this.messageKeys?.refresh();
    this.keepAtEnd();
    this.offerNewest();
  }

  /** Show what goes on in conversations that are not shown. @param {Record<string, string>} elsewhere */
  showElsewhere(elsewhere) {
    this.conversations.setCurrent(this.state.settings.conversation, elsewhere);
    const news = markOpener(this.conversationsButton, this.elsewhere, elsewhere);
    if (news) this.news.textContent = news;
    this.elsewhere = elsewhere;
  }

  /** @param {string} message */
  onKernelGone(message) {
    super.onKernelGone(`${message} The conversation comes back with it.`);
  }

  /** Keep the end visible, unless the reader has scrolled away. */
  keepAtEnd() {
    if (this.scrollsWithAnswer) this.log.scrollTop = this.log.scrollHeight;
  }

  /** Offer to scroll to the end, if it is not in sight. */
  offerNewest() {
    const isAway = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight >= NEAR_END_PX;
    this.newestButton.hidden = this.scrollsWithAnswer || !isAway || !this.state.order.length;
  }

  scrollToEnd() {
    this.scrollsWithAnswer = true;
    this.log.scrollTop = this.log.scrollHeight;
    this.newestButton.hidden = true;
    this.composer.input.focus();
  }

  /** @param {string} error @returns {boolean} whether the last turn shows it already */
  isShown(error) {
    const last = this.state.turns.get(this.state.order[this.state.order.length - 1]);
    return last?.error === error;
  }

  /** @param {string} text @param {File[]} files */
  async send(text, files) {
    this.showError("");
    this.hideUndo();
    this.estimate.textContent = "";
    // Shown at once, even if the kernel is busy.
    const preview = h("div", { class: "ipyllm-question ipyllm-pending" }, h("div", { class: "ipyllm-bubble" },
      h("div", { class: "ipyllm-words", dir: "auto" }, text.slice(0, 1200))));
    if (!this.composer.running) {
      this.pending.add(preview);
      this.emptyHint.remove();
      this.log.append(preview);
    }
    this.scrollToEnd();
    const error = await this.post(text, files);
    this.pending.delete(preview);
    preview.remove();
    if (error && !this.isShown(error)) {
      this.showError(error);
      this.composer.restore(text, files);
    }
  }

  /** @param {string} text @param {File[]} files @returns {Promise<string | null>} the error, or null */
  async post(text, files) {
    const read = await readFiles(files);
    return read ? this.commands.send("send", { text, files: read.names }, read.buffers) : UNREADABLE_FILE;
  }

  editLast() {
    const last = this.views.get(this.state.order[this.state.order.length - 1]);
    last?.edit(undefined, () => this.composer.input.focus());
  }

  close() {
    this.composer.close();
    this.resizeObserver.disconnect();
    super.close();
  }
}

export default { render: rendererOf(ChatView) };
