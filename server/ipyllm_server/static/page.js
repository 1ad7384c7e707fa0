// The page of the chat server: conversations, a log, a composer. It asks, and shows what comes over the WebSocket.

import { askMessage, BackgroundChats } from "./background_chats.js";
import { ChatLog } from "./chat_log.js";
import { STILL_STREAMING } from "./composer.js";
import { ChatConnection } from "./connection.js";
import { ConversationList } from "./conversation_list.js";
import { NO_ANSWER, reasonOf, STOPPED } from "./exchange.js";
import { PageFrame } from "./page_frame.js";
import { QuestionQueue } from "./question_queue.js";
import { tabMemory } from "./tab_memory.js";
import { TEXT_LIMITS, TextComposer } from "./text_composer.js";

/** How an answer ended, for screen readers. @type {Record<string, string>} */
const ENDS = { ok: "The answer is complete.", cancelled: STOPPED };
const AFTER_ALL = 999_999_999; // the number of no answer: those before are asked for as history

/**
 * `isAssumed`: that it gets no answer, after a reload. `replaces`: the call of the answer in whose place it is asked.
 * @typedef {{id: string, text: string, model: string, replaces: string | null, isBegun: boolean, isAssumed: boolean}} Asked
 */

class Page {
  constructor() {
    /** @type {ChatConnection | null} */
    this.connection = null;
    /** @type {string | null} */
    this.conversation = null;
    this.frame = new PageFrame();
    this.conversations = new ConversationList({
      current: () => this.conversation,
      marks: () => this.background.marks,
      tell: (news) => this.frame.announce(news),
      open: (name, query) => this.choose(name, query),
      deleted: (name) => this.forget(name),
      renamed: (name, to) => this.renamed(name, to),
      showError: (message) => this.showError(message),
    });
    this.background = new BackgroundChats(() => void this.conversations.load(), (...chat) => this.connect(...chat));
    /** @type {import("./exchange.js").ExchangeView | null} */
    this.running = null;
    /** @type {Asked | null} */
    this.asked = null;
    this.isGreeted = false; // whether the server has said hello to this connection
    this.failure = ""; // why the running answer ends, before it does
    this.query = ""; // for which the conversation was found
    /** @type {Omit<import("./tab_memory.js").Unanswered, "after"> | null} */
    this.refused = null; // a question in the place of another
    /** @type {{at: number, top: number, later: boolean} | null} */
    this.place = null; // of the version that was chosen
    this.log = new ChatLog({
      conversation: () => this.conversation,
      ask: (view, text) => this.askAgain(view, text),
      select: (view, call) => this.select(view, call),
      focusComposer: () => this.composer.input.focus(),
    });
    this.composer = new TextComposer({
      send: (text) => {
        tabMemory.setDraft(this.conversation, "");
        if (this.composer.running) this.queue.add(text);
        else this.send(text);
      },
      queues: true,
      stop: () => this.connection?.send({ type: "stop" }),
      editLast: () => this.log.editLast(),
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
    this.frame.show({
      fold: this.conversations.fold, side: this.conversations.element, log: this.log.element,
      queue: this.queue.element, composer: this.composer.element, begin: () => this.begin(),
    });
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
    this.background.comeBack();
    if (kept) {
      this.asked = kept.asked;
      this.open(kept.conversation, kept.session);
    }
    await Promise.all([this.frame.loadModels(), this.conversations.load()]);
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
      const { question, after, replaces } = running;
      this.background.keep(conversation, { connection, asked, isGreeted, failure, question, after, replaces });
    } else connection?.close();
    this.connection = this.conversation = this.asked = this.running = null;
    this.failure = "";
    this.place = this.refused = null;
    this.setRunning(false);
    this.queue.load();
    this.showError("");
    this.frame.showHint("");
    this.frame.announce("");
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
    this.log.setIdle(!running);
    this.queue.draw();
  }

  /** @param {string} conversation @param {string} [session] @param {number} [answer] */
  open(conversation, session = "", answer = AFTER_ALL) {
    this.reset(conversation);
    this.connection = this.connect(conversation, session, answer);
  }

  /** @param {string} conversation @param {string} session @param {number} answer @returns {ChatConnection} */
  connect(conversation, session, answer) {
    /** @type {ChatConnection} */
    const connection = new ChatConnection(new URL("ws", location.href.replace(/^http/, "ws")).href.split("?")[0], {
      hello: (message) => (connection === this.connection ? this.onHello(message) : this.background.onHello(connection, message.resumed)),
      message: (message) => (connection === this.connection ? this.onMessage(message) : this.background.onMessage(connection, message)),
      lost: () => connection === this.connection && this.frame.showHint("The connection is lost. Connecting again …"),
      closed: (reason) => (connection === this.connection ? this.onClosed(reason) : this.background.onClosed(connection)),
    }, { conversation, session, answer });
    return connection;
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
    this.frame.showHint("");
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
      case "html": this.running?.update(message); this.frame.announce("The answer has begun."); break;
      case "error": this.onError(message); break;
      case "done": this.onDone(message);
    }
    this.log.follow();
  }

  /** @param {{messages: any[], answers: any[], unfinished: number}} history with the number of the answer that is not among the messages yet, or 0 */
  showHistory({ messages, answers, unfinished }) {
    this.log.read(messages, answers);
    const isAnswered = messages.some(({ id }) => id !== undefined && id === this.asked?.id);
    if (this.asked) {
      const wasAssumed = this.asked.isAssumed;
      if (wasAssumed) this.log.forgetUnanswered(this.asked.text, NO_ANSWER);
      this.asked.isAssumed = (this.isReloaded || wasAssumed) && !isAnswered && !unfinished;
      if (this.asked.isAssumed) this.log.keepUnanswered({ text: this.asked.text, error: NO_ANSWER, after: this.log.lastRead, replaces: this.asked.replaces });
    }
    if (this.refused) this.log.keepUnanswered({ ...this.refused, after: this.log.lastRead });
    this.refused = null;
    if (this.isLost && this.asked && !isAnswered) {
      this.takeBack(this.asked, "The connection was lost before the answer began.");
      this.asked = null;
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
    if (this.place) void this.log.keepPlace(this.place, this.place.later);
    const isChosen = this.place !== null;
    this.place = null;
    if (unfinished || this.running || isChosen) return;
    if (isAnswered) this.queue.sendNext();
    else this.queue.hold();
  }

  /** A question was not asked: give it back. @param {Asked} asked @param {string} reason */
  takeBack({ text, replaces }, reason) {
    if (replaces) this.log.keepUnanswered({ text, error: reason, after: this.log.lastRead, replaces });
    else this.composer.restore(text, []);
    if (!replaces) this.showError(`${reason} Send the question again.`);
  }

  /** @param {{question: string | null, replaces: string | null, elapsed_s: number}} message */
  onAnswer({ question, replaces, elapsed_s }) {
    if (this.asked && question === this.asked.id) {
      this.asked.isBegun = true;
      if (this.asked.isAssumed) { // it was about to begin when the page was loaded
        this.log.dropLastUnanswered(this.asked.text, NO_ANSWER);
        this.asked.isAssumed = false;
      }
    }
    if (!this.running?.isRunning) {
      this.running = this.log.begin(question !== null && question === this.asked?.id ? this.asked.text : "…", replaces, elapsed_s);
    }
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
      const { running, asked } = this;
      this.running = this.asked = null;
      this.queue.isHeld = true;
      this.setRunning(false);
      this.keep();
      if (running.replaces) {
        this.refused = { text: running.question, error: error.message, replaces: error.code === "not_found" ? null : running.replaces };
        this.connection?.send({ type: "history" }); // what it would have replaced
        return;
      }
      this.log.remove(running);
      this.composer.restore(asked?.text ?? "", []);
    }
    this.showError(error.message);
  }

  /** @param {any} message */
  onDone(message) {
    const { running, failure } = this;
    this.running?.end(message);
    if (running && !message.content) {
      this.log.addUnanswered(running, reasonOf(failure, message.status), message.summary);
      if (running.replaces) this.connection?.send({ type: "history" }); // what it would have replaced
    } else if (running) {
      running.setCall(message.call_id, [...running.calls, message.call_id]);
      if (failure || message.status === "cancelled") running.showError(failure || STOPPED);
    }
    this.setRunning(false);
    this.failure = "";
    this.asked = null; // it is in the history, or among those without an answer
    this.keep();
    this.frame.announce(ENDS[message.status] ?? "The answer failed.");
    if (!message.content || !this.conversations.saved.has(this.conversation ?? "")) this.conversations.load();
    if (failure || message.status === "cancelled" || !message.content) this.queue.hold();
    else this.queue.sendNext();
  }

  /** Ask a question again, edited or not, in its place. @param {import("./exchange.js").ExchangeView} view @param {string} text @returns {boolean} whether it was possible */
  askAgain(view, text) {
    if (this.composer.running) {
      this.showError(STILL_STREAMING);
      return false;
    }
    view.drop?.();
    void this.send(text, view.call ?? view.replaces);
    this.composer.input.focus();
    return true;
  }

  /** Show another version of a question where this one stands. @param {import("./exchange.js").ExchangeView} view @param {string} call */
  select(view, call) {
    this.showError("");
    this.place = { ...this.log.placeOf(view), later: view.calls.indexOf(call) > view.calls.indexOf(view.call ?? "") };
    if (!this.connection) this.open(/** @type {string} */ (this.conversation));
    this.connection?.send({ type: "show", call_id: call });
  }

  /** @param {string} reason */
  onClosed(reason) {
    this.frame.showHint("");
    this.queue.isHeld = true;
    this.setRunning(false);
    this.showError(reason || "The server closed the connection.");
    if (this.running?.isRunning) this.running.end({});
    this.connection = null;
  }

  /** @param {string} text @param {string | null} [replaces] the call of the answer in whose place it is asked */
  async send(text, replaces = null) {
    this.showError("");
    this.setRunning(true);
    if (this.conversation === null && !(await this.beginNew(text))) {
      this.composer.restore(text, []);
      return;
    }
    if (!this.connection) this.open(/** @type {string} */ (this.conversation));
    this.asked = { id: crypto.randomUUID?.() ?? String(Math.random()), text, model: this.frame.model.value, replaces, isBegun: false, isAssumed: false };
    this.running = this.log.begin(text, replaces);
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
    this.connection?.send(askMessage(/** @type {Asked} */ (this.asked)));
  }

  /** @param {string} message the error, or "" */
  showError(message) {
    this.frame.showError(message);
  }
}

new Page().start();
