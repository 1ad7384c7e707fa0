// The page of the chat server: conversations, a log, a composer. It asks, and shows what comes over the WebSocket.

import { request } from "./api.js";
import { BackgroundChats } from "./background_chats.js";
import { ChatLog } from "./chat_log.js";
import { STILL_STREAMING } from "./composer.js";
import { ChatConnection } from "./connection.js";
import { ConversationList } from "./conversation_list.js";
import { button, h } from "./dom.js";
import { ExchangeView, STOPPED } from "./exchange.js";
import { QuestionQueue } from "./question_queue.js";
import { tabMemory } from "./tab_memory.js";
import { TEXT_LIMITS, TextComposer } from "./text_composer.js";

/** How an answer ended, for screen readers. @type {Record<string, string>} */
const ENDS = { ok: "The answer is complete.", cancelled: STOPPED };
const AFTER_ALL = 999_999_999; // the number of no answer: those before are asked for as history
const NO_ANSWER = "The connection was lost before an answer came.";

/** `isAssumed`: that it gets no answer, after a reload. @typedef {{id: string, text: string, model: string, isBegun: boolean, isAssumed: boolean}} Asked */

class Page {
  constructor() {
    /** @type {ChatConnection | null} */
    this.connection = null;
    /** @type {string | null} */
    this.conversation = null;
    this.conversations = new ConversationList({
      current: () => this.conversation,
      marks: () => this.background.marks,
      open: (name, query) => this.choose(name, query),
      deleted: (name) => this.forget(name),
      renamed: (name, to) => this.renamed(name, to),
      showError: (message) => this.showError(message),
    });
    this.background = new BackgroundChats(() => void this.conversations.load());
    /** @type {ExchangeView | null} */
    this.running = null;
    /** @type {Asked | null} */
    this.asked = null;
    this.isGreeted = false; // whether the server has said hello to this connection
    this.failure = ""; // why the running answer ends, before it does
    this.query = ""; // for which the conversation was found
    this.model = h("select", { class: "ipyllm-input ipyllm-model", "aria-label": "Model", change: () => localStorage.setItem("ipyllm-model", this.model.value) }, h("option", { value: "" }, "Default model"));
    this.log = new ChatLog({ conversation: () => this.conversation, tryAgain: (text, begun) => this.tryAgain(text, begun) });
    this.notice = h("div", { class: "ipyllm-notice", role: "alert", hidden: true });
    this.hint = h("div", { class: "ipyllm-hint", role: "status", hidden: true });
    this.status = h("div", { class: "ipyllm-away", role: "status" });
    this.composer = new TextComposer({
      send: (text) => {
        tabMemory.setDraft(this.conversation, "");
        if (this.composer.running) this.queue.add(text);
        else this.send(text);
      },
      queues: true,
      stop: () => this.connection?.send({ type: "stop" }),
      editLast: () => {},
      showError: (message) => this.showError(message),
      draft: (text) => tabMemory.setDraft(this.conversation, text),
      limits: () => TEXT_LIMITS,
    });
    this.queue = new QuestionQueue({
      conversation: () => this.conversation,
      isIdle: () => !this.composer.running,
      send: (text) => void this.send(text),
      takeBack: (text) => {
        this.composer.restore(text, []);
        this.composer.input.focus();
      },
    });
    window.addEventListener("pagehide", () => this.composer.close());
    this.composer.input.setAttribute("aria-label", "Message. Enter sends, Shift+Enter begins a new line, Escape stops an answer.");
    document.body.append(h("div", { class: "ipyllm-widget ipyllm-chat ipyllm-site" },
      h("header", { class: "ipyllm-top" }, h("h1", {}, "Chat"), this.conversations.fold,
        h("button", { type: "button", class: "ipyllm-button", click: () => this.begin() }, "New chat"), this.model),
      h("div", { class: "ipyllm-body" }, this.conversations.element,
        h("main", { class: "ipyllm-main" }, this.log.element, this.hint, this.notice, this.status, this.queue.element, this.composer.element))));
    this.composer.takeDrops(document.body);
    setInterval(() => this.running?.tick(), 1000);
  }

  async start() {
    const address = new URL(location.href);
    if (address.searchParams.has("token")) { // Jupyter has set its cookie: the token stays in no history
      address.searchParams.delete("token");
      history.replaceState(null, "", address);
    }
    const kept = tabMemory.chat; // before a question of this page is kept
    this.composer.showDraft(tabMemory.draft(kept?.conversation ?? null));
    this.log.clear();
    this.composer.input.focus();
    if (kept) {
      this.asked = kept.asked;
      this.open(kept.conversation, kept.session);
    }
    await Promise.all([this.loadModels(), this.conversations.load()]);
  }

  async loadModels() {
    try {
      const { models } = await request("api/models");
      this.model.replaceChildren(...models.map((/** @type {string} */ name) => h("option", {}, name)));
      const chosen = localStorage.getItem("ipyllm-model");
      if (models.includes(chosen)) this.model.value = chosen;
    } catch (error) {
      this.showError(`The models cannot be listed: ${/** @type {Error} */ (error).message}`);
    }
  }

  /** Remember what this tab shows, so that a reload shows it again. */
  keep() {
    const { conversation, asked } = this;
    tabMemory.chat = { conversation, asked, session: this.connection?.session ?? "" };
  }

  /** Begin a new chat: it gets its name, and its connection, with the first question. */
  begin() {
    this.leave();
    this.composer.showDraft(tabMemory.draft(null));
    tabMemory.chat = null;
    this.log.clear();
    this.conversations.load();
    this.composer.input.focus();
  }

  /** Show no conversation; an answer that is being given goes on. */
  leave() {
    const { connection, conversation, running, asked, isGreeted, failure } = this;
    this.composer.keepDraft();
    this.composer.takeAway();
    if (connection && conversation !== null && running?.isRunning) {
      this.background.keep(conversation, { connection, asked, isGreeted, failure, question: running.question, after: this.log.countAnswered() - 1 });
    } else connection?.close();
    this.connection = this.conversation = this.asked = this.running = null;
    this.failure = "";
    this.setRunning(false);
    this.queue.load();
    this.showError("");
    this.showHint("");
    this.announce("");
    this.conversations.show(false);
  }

  /** @param {string} name @param {string} query for which it was found */
  choose(name, query) {
    this.leave();
    const kept = this.background.take(name);
    this.asked = kept?.asked ?? null;
    if (kept?.connection) this.goOn(name, kept.connection);
    else this.open(name);
    this.composer.showDraft(tabMemory.draft(name));
    this.query = query;
    this.conversations.load();
    this.composer.input.focus();
  }

  /** A conversation was deleted. @param {string} name */
  forget(name) {
    if (name === this.conversation) this.begin();
    else this.conversations.load();
    this.background.move(name, null);
    tabMemory.move(name, null);
  }

  /** @param {string} name of a conversation @param {string} to its new name */
  renamed(name, to) {
    this.background.move(name, to);
    tabMemory.move(name, to);
    if (name !== this.conversation) return;
    this.conversation = to;
    if (this.connection) this.connection.conversation = to; // for the next time that it connects
    this.keep();
  }

  /** @param {boolean} running whether an answer is being given, or waited for */
  setRunning(running) {
    this.composer.setRunning(running);
    this.queue.draw();
  }

  /** @param {string} conversation @param {string} [session] @param {number} [answer] */
  open(conversation, session = "", answer = AFTER_ALL) {
    this.reset(conversation);
    /** @type {ChatConnection} */
    const connection = new ChatConnection(new URL("ws", location.href.replace(/^http/, "ws")).href.split("?")[0], {
      hello: (message) => (connection === this.connection ? this.onHello(message) : this.background.onHello(connection, message.resumed)),
      message: (message) => (connection === this.connection ? this.onMessage(message) : this.background.onMessage(connection, message)),
      lost: () => connection === this.connection && this.showHint("The connection is lost. Connecting again …"),
      closed: (reason) => (connection === this.connection ? this.onClosed(reason) : this.background.onClosed(connection)),
    }, { conversation, session, answer });
    this.connection = connection;
  }

  /** Show a conversation again whose answer went on. @param {string} conversation @param {ChatConnection} connection */
  goOn(conversation, connection) {
    this.reset(conversation);
    this.connection = connection;
    if (connection.isOpen) this.onHello({ resumed: true });
  }

  /** Show a conversation from its beginning. @param {string} conversation */
  reset(conversation) {
    this.conversation = conversation;
    this.query = "";
    this.queue.load();
    this.isGreeted = this.isNew = this.isLost = false;
    this.isReloaded = this.isResumed = false; // so that the answer that runs is asked for from its beginning
  }

  /** @param {{resumed: boolean}} message */
  onHello({ resumed }) {
    this.showHint("");
    const connection = /** @type {ChatConnection} */ (this.connection);
    const isFirst = !this.isGreeted;
    this.isGreeted = true;
    if (isFirst && !this.isNew) {
      connection.send({ type: "history" });
      this.isReloaded = true;
      this.isResumed = resumed;
    } else if (!isFirst && !resumed) {
      this.isLost = Boolean(this.running?.isRunning);
      connection.send({ type: "history" });
    } else if (!isFirst && this.asked && !this.asked.isBegun) this.ask(); // with its id: it is answered once
    this.keep();
  }

  /** @param {any} message */
  onMessage(message) {
    switch (message.type) {
      case "history": this.showHistory(message); break;
      case "summaries": this.log.summarise(message.summaries); break;
      case "answer": this.onAnswer(message); break;
      case "html": this.running?.update(message); this.announce("The answer has begun."); break;
      case "error": this.onError(message); break;
      case "done": this.onDone(message);
    }
    this.log.follow();
  }

  /** @param {{messages: any[], unfinished: number}} history with the number of the answer that is not among the messages yet, or 0 */
  showHistory({ messages, unfinished }) {
    this.log.read(messages);
    const isAnswered = messages.some(({ id }) => id !== undefined && id === this.asked?.id);
    if (this.asked) {
      const wasAssumed = this.asked.isAssumed;
      if (wasAssumed) this.log.forgetUnanswered(this.asked.text, NO_ANSWER);
      this.asked.isAssumed = (this.isReloaded || wasAssumed) && !isAnswered && !unfinished;
      if (this.asked.isAssumed) this.log.keepUnanswered({ text: this.asked.text, error: NO_ANSWER, after: this.log.answered.size });
    }
    if (this.isLost && this.asked && !isAnswered) {
      this.composer.restore(this.asked.text, []);
      this.asked = null;
      this.showError("The connection was lost before the answer began. Send the question again.");
    }
    if (this.isLost) this.setRunning(false);
    if (!this.running?.isRunning || this.isLost) this.running = null;
    this.isLost = false;
    this.log.show(this.running);
    if (this.isResumed && unfinished) this.connection?.again(unfinished);
    this.isReloaded = this.isResumed = false;
    this.log.showFound(this.query);
    this.query = "";
    if (isAnswered) this.asked = null;
    this.keep();
    if (unfinished || this.running) return;
    if (isAnswered) this.queue.sendNext();
    else this.queue.hold();
  }

  /** @param {{question: string | null, elapsed_s: number}} message */
  onAnswer({ question, elapsed_s }) {
    if (this.asked && question === this.asked.id) {
      this.asked.isBegun = true;
      if (this.asked.isAssumed) { // it was about to begin when the page was loaded
        this.log.dropLastUnanswered(this.asked.text, NO_ANSWER);
        this.asked.isAssumed = false;
      }
    }
    if (!this.running?.isRunning) this.showQuestion(question !== null && question === this.asked?.id ? this.asked.text : "…", elapsed_s);
    this.setRunning(true);
    if (!this.conversations.names.includes(this.conversation ?? "")) this.conversations.load();
  }

  /** @param {any} message */
  onError({ error, answer, question }) {
    if (answer !== undefined) {
      this.failure = error.message;
      return;
    }
    if (question !== null && question === this.asked?.id && this.running?.isRunning) { // refused: nothing was asked
      this.log.remove(this.running);
      this.running = null;
      this.queue.isHeld = true;
      this.setRunning(false);
      this.composer.restore(this.asked?.text ?? "", []);
      this.asked = null;
      this.keep();
    }
    this.showError(error.message);
  }

  /** @param {any} message */
  onDone(message) {
    const { running, failure } = this;
    this.running?.end(message);
    this.setRunning(false);
    if (running && !message.content) {
      this.log.addUnanswered(running, failure || (message.status === "cancelled" ? "Stopped before the first word." : "The answer is empty."), message.summary);
    } else if (running && (failure || message.status === "cancelled")) running.showError(failure || STOPPED, () => this.tryAgain(running.question));
    this.failure = "";
    this.asked = null; // it is in the history, or among those without an answer
    this.keep();
    this.announce(ENDS[message.status] ?? "The answer failed.");
    if (!message.content || !this.conversations.saved.has(this.conversation ?? "")) this.conversations.load();
    if (failure || message.status === "cancelled" || !message.content) this.queue.hold();
    else this.queue.sendNext();
  }

  /** Ask a question again. @param {string} text @param {() => void} [begun] called unless another answer still streams */
  tryAgain(text, begun = () => {}) {
    if (this.composer.running) {
      this.showError(STILL_STREAMING);
      return;
    }
    begun();
    this.send(text);
  }

  /** @param {string} reason */
  onClosed(reason) {
    this.showHint("");
    this.queue.isHeld = true;
    this.setRunning(false);
    this.showError(reason || "The server closed the connection.");
    if (this.running?.isRunning) this.running.end({});
    this.connection = null;
  }

  /** @param {string} text */
  async send(text) {
    this.showError("");
    this.setRunning(true);
    if (this.conversation === null && !(await this.beginNew(text))) {
      this.composer.restore(text, []);
      return;
    }
    if (!this.connection) this.open(/** @type {string} */ (this.conversation));
    this.asked = { id: crypto.randomUUID?.() ?? String(Math.random()), text, model: this.model.value, isBegun: false, isAssumed: false };
    this.showQuestion(text);
    this.ask();
    this.keep();
    this.log.scrollToEnd();
  }

  /** Open a chat with a name that none has, of this tab or another. @param {string} text its first question @returns {Promise<boolean>} whether the user has not gone elsewhere meanwhile */
  async beginNew(text) {
    await this.conversations.load();
    if (this.conversation !== null) return false;
    const name = this.conversations.newName(text);
    tabMemory.move(null, name); // what waits already
    this.open(name);
    this.isNew = true;
    return true;
  }

  /** Send the question. */
  ask() {
    const { id, text, model } = /** @type {Asked} */ (this.asked);
    this.connection?.send({ type: "ask", id, message: text, ...(model ? { model } : {}) });
  }

  /** @param {string} text @param {number} [elapsed] seconds since it was asked */
  showQuestion(text, elapsed = 0) {
    this.running = new ExchangeView(text, elapsed);
    this.log.append(this.running);
  }

  /** Tell screen readers, once. @param {string} sentence */
  announce(sentence) {
    if (this.status.textContent !== sentence) this.status.textContent = sentence;
  }

  /** @param {string} message the error, or "" */
  showError(message) {
    this.notice.hidden = !message;
    this.notice.replaceChildren(...(message ? [h("span", { dir: "auto" }, message), button("close", "Dismiss", () => this.showError(""))] : []));
  }

  /** @param {string} hint */
  showHint(hint) {
    this.hint.hidden = !hint;
    this.hint.textContent = hint;
  }
}

new Page().start();
