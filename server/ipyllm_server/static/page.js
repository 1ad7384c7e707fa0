// The page of the chat server: conversations, a log, a composer. It asks, and shows what comes over the WebSocket.

import { BackgroundChats } from "./background_chats.js";
import { ChatLog } from "./chat_log.js";
import { STILL_STREAMING } from "./composer.js";
import { ChatConnection } from "./connection.js";
import { ConversationList } from "./conversation_list.js";
import { PageFrame } from "./page_frame.js";
import { QuestionQueue } from "./question_queue.js";
import { ShownChat } from "./shown_chat.js";
import { tabMemory } from "./tab_memory.js";
import { TEXT_LIMITS, TextComposer } from "./text_composer.js";

const AFTER_ALL = 999_999_999; // the number of no answer: those before are asked for as history

/** What the user sees, and what they do. */
export class Page {
  constructor() {
    /** @type {ChatConnection | null} */
    this.connection = null;
    /** @type {string | null} */
    this.conversation = null;
    this.frame = new PageFrame();
    this.chat = new ShownChat(this);
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
    setInterval(() => this.chat.running?.tick(), 1000);
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
      this.chat.asked = kept.asked;
      this.open(kept.conversation, kept.session);
    }
    await Promise.all([this.frame.loadModels(), this.conversations.load()]);
  }

  /** Remember what this tab shows, so that a reload shows it again. */
  keep() {
    const { conversation, chat } = this;
    tabMemory.chat = { conversation, asked: chat.asked, session: this.connection?.session ?? "" };
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
    const { connection, conversation } = this, { running, asked, isGreeted, failure } = this.chat;
    this.composer.keepDraft();
    this.composer.takeAway();
    if (connection && conversation !== null && running?.isRunning) {
      const { question, after, replaces } = running;
      this.background.keep(conversation, { connection, asked, isGreeted, failure, question, after, replaces });
    } else connection?.close();
    this.connection = this.conversation = null;
    this.frame.showName(null);
    this.chat.leave();
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
    this.chat.asked = kept?.asked ?? null;
    if (kept?.connection) this.goOn(name, kept.connection);
    else this.open(name);
    this.composer.showDraft(tabMemory.draft(name));
    this.chat.query = query;
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
    this.frame.showName(to);
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
      hello: (message) => (connection === this.connection ? this.chat.onHello(message.resumed) : this.background.onHello(connection, message.resumed)),
      message: (message) => (connection === this.connection ? this.chat.onMessage(message) : this.background.onMessage(connection, message)),
      lost: () => connection === this.connection && this.frame.showHint("The connection is lost. Connecting again …"),
      closed: (reason) => (connection === this.connection ? this.onClosed(reason) : this.background.onClosed(connection)),
    }, { conversation, session, answer });
    return connection;
  }

  /** Show a conversation again whose answer went on. @param {string} conversation @param {ChatConnection} connection */
  goOn(conversation, connection) {
    this.reset(conversation);
    this.connection = connection;
    if (connection.isOpen) this.chat.onHello(true);
  }

  /** Show a conversation from its beginning. @param {string} conversation */
  reset(conversation) {
    this.conversation = conversation;
    this.frame.showName(conversation);
    this.queue.load();
    this.chat.reset();
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
    this.chat.place = { ...this.log.placeOf(view), later: view.calls.indexOf(call) > view.calls.indexOf(view.call ?? "") };
    if (!this.connection) this.open(/** @type {string} */ (this.conversation));
    this.connection?.send({ type: "show", call_id: call });
  }

  /** @param {string} reason */
  onClosed(reason) {
    this.frame.showHint("");
    this.queue.isHeld = true;
    this.setRunning(false);
    this.showError(reason || "The server closed the connection.");
    if (this.chat.running?.isRunning) this.chat.running.end({});
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
    this.chat.begin(text, this.frame.model.value, replaces);
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
    this.chat.isNew = true;
    return true;
  }

  /** @param {string} message the error, or "" */
  showError(message) {
    this.frame.showError(message);
  }
}

new Page().start();
