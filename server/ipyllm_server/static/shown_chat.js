// The chat that the page shows: its history, the question that was asked last, and its answer, as the server tells them.

import { askMessage } from "./background_chats.js";
import { NO_ANSWER, reasonOf, STOPPED } from "./exchange.js";

/** How an answer ended, for screen readers. @type {Record<string, string>} */
const ENDS = { ok: "The answer is complete.", cancelled: STOPPED };

/**
 * `isAssumed`: that it gets no answer, after a reload. `replaces`: the call of the answer in whose place it is asked.
 * @typedef {{id: string, text: string, model: string, replaces: string | null, isBegun: boolean, isAssumed: boolean}} Asked
 */

/** Does what the messages of the server say. */
export class ShownChat {
  /** @param {import("./page.js").Page} page */
  constructor(page) {
    this.page = page;
    /** @type {import("./exchange.js").ExchangeView | null} */
    this.running = null;
    /** @type {Asked | null} */
    this.asked = null;
    this.failure = ""; // why the running answer ends, before it does
    /** @type {Omit<import("./tab_memory.js").Unanswered, "after"> | null} */
    this.refused = null; // a question in the place of another
    /** @type {{at: number, top: number, later: boolean} | null} */
    this.place = null; // of the version that was chosen
    this.query = ""; // for which the conversation was found
    this.isGreeted = false; // whether the server has said hello to this connection
    this.isNew = this.isLost = this.isReloaded = this.isResumed = false;
  }

  /** Show nothing: an answer that is being given goes on elsewhere. */
  leave() {
    this.running = this.asked = this.refused = this.place = null;
    this.failure = "";
  }

  /** Show a conversation from its beginning. */
  reset() {
    this.query = "";
    this.isGreeted = false;
    this.isNew = this.isLost = false;
    this.isReloaded = this.isResumed = false; // so that the answer that runs is asked for from its beginning
  }

  /** Ask a question. @param {string} text @param {string} model @param {string | null} replaces the call of the answer in whose place it is asked */
  begin(text, model, replaces) {
    this.asked = { id: crypto.randomUUID?.() ?? String(Math.random()), text, model, replaces, isBegun: false, isAssumed: false };
    this.running = this.page.log.begin(text, replaces);
    this.ask();
  }

  ask() {
    this.page.connection?.send(askMessage(/** @type {Asked} */ (this.asked)));
  }

  /** The server has greeted the connection. @param {boolean} resumed whether its session is still there */
  onHello(resumed) {
    this.page.frame.showHint("");
    const isFirst = !this.isGreeted;
    this.isGreeted = true;
    if (isFirst && !this.isNew) {
      this.page.connection?.send({ type: "history" });
      this.isReloaded = true;
      this.isResumed = resumed;
    } else if (!isFirst && !resumed) {
      this.isLost = Boolean(this.running?.isRunning);
      this.page.connection?.send({ type: "history" });
    } else if (!isFirst && this.asked && !this.asked.isBegun) this.ask(); // with its id: it is answered once
    this.page.keep();
  }

  /** @param {any} message */
  onMessage(message) {
    switch (message.type) {
      case "history": this.showHistory(message); break;
      case "summaries": this.page.log.summarise(message.summaries); break;
      case "answer": this.onAnswer(message); break;
      case "html": this.running?.update(message); this.page.frame.announce("The answer has begun."); break;
      case "error": this.onError(message); break;
      case "done": this.onDone(message);
    }
    this.page.log.follow();
  }

  /** @param {{messages: any[], answers: any[], unfinished: number}} history with the number of the answer that is not among the messages yet, or 0 */
  showHistory({ messages, answers, unfinished }) {
    this.page.log.read(messages, answers);
    const isAnswered = messages.some(({ id }) => id !== undefined && id === this.asked?.id);
    if (this.asked) {
      const wasAssumed = this.asked.isAssumed;
      if (wasAssumed) this.page.log.forgetUnanswered(this.asked.text, NO_ANSWER);
      this.asked.isAssumed = (this.isReloaded || wasAssumed) && !isAnswered && !unfinished;
      if (this.asked.isAssumed) this.page.log.keepUnanswered({ text: this.asked.text, error: NO_ANSWER, after: this.page.log.lastRead, replaces: this.asked.replaces });
    }
    if (this.refused) this.page.log.keepUnanswered({ ...this.refused, after: this.page.log.lastRead });
    this.refused = null;
    if (this.isLost && this.asked && !isAnswered) {
      this.takeBack(this.asked, "The connection was lost before the answer began.");
      this.asked = null;
    }
    if (this.isLost) this.page.setRunning(false);
    if (!this.running?.isRunning || this.isLost) this.running = null;
    this.isLost = false;
    this.page.log.show(this.running);
    if (this.isResumed && unfinished) this.page.connection?.again(unfinished);
    this.isReloaded = this.isResumed = false;
    this.page.log.showFound(this.query);
    this.query = "";
    if (isAnswered) this.asked = null;
    this.page.keep();
    if (this.place) void this.page.log.keepPlace(this.place, this.place.later);
    const isChosen = this.place !== null;
    this.place = null;
    if (unfinished || this.running || isChosen) return;
    if (isAnswered) this.page.queue.sendNext();
    else this.page.queue.hold();
  }

  /** A question was not asked: give it back. @param {Asked} asked @param {string} reason */
  takeBack({ text, replaces }, reason) {
    if (replaces) this.page.log.keepUnanswered({ text, error: reason, after: this.page.log.lastRead, replaces });
    else this.page.composer.restore(text, []);
    if (!replaces) this.page.showError(`${reason} Send the question again.`);
  }

  /** @param {{question: string | null, replaces: string | null, elapsed_s: number}} message */
  onAnswer({ question, replaces, elapsed_s }) {
    if (this.asked && question === this.asked.id) {
      this.asked.isBegun = true;
      if (this.asked.isAssumed) { // it was about to begin when the page was loaded
        this.page.log.dropLastUnanswered(this.asked.text, NO_ANSWER);
        this.asked.isAssumed = false;
      }
    }
    if (!this.running?.isRunning) {
      this.running = this.page.log.begin(question !== null && question === this.asked?.id ? this.asked.text : "…", replaces, elapsed_s);
    }
    this.page.setRunning(true);
    if (!this.page.conversations.names.includes(this.page.conversation ?? "")) this.page.conversations.load();
  }

  /** @param {any} message */
  onError({ error, answer, question }) {
    if (answer !== undefined) {
      this.failure = error.message;
      return;
    }
    this.place = null;
    if (question !== null && question === this.asked?.id && this.running?.isRunning) { // refused: nothing was asked
      const { running, asked } = this;
      this.running = this.asked = null;
      this.page.queue.isHeld = true;
      this.page.setRunning(false);
      this.page.keep();
      if (running.replaces) {
        this.refused = { text: running.question, error: error.message, replaces: error.code === "not_found" ? null : running.replaces };
        this.page.connection?.send({ type: "history" }); // what it would have replaced
        return;
      }
      this.page.log.remove(running);
      this.page.composer.restore(asked?.text ?? "", []);
    }
    this.page.showError(error.message);
  }

  /** @param {any} message */
  onDone(message) {
    const { running, failure } = this;
    this.running?.end(message);
    if (running && !message.content) {
      this.page.log.addUnanswered(running, reasonOf(failure, message.status), message.summary);
      if (running.replaces) this.page.connection?.send({ type: "history" }); // what it would have replaced
    } else if (running) {
      running.setCall(message.call_id, [...running.calls, message.call_id]);
      if (failure || message.status === "cancelled") running.showError(failure || STOPPED);
    }
    this.page.setRunning(false);
    this.failure = "";
    this.asked = null; // it is in the history, or among those without an answer
    this.page.keep();
    this.page.frame.announce(ENDS[message.status] ?? "The answer failed.");
    this.page.conversations.load(); // with its date, and first
    if (failure || message.status === "cancelled" || !message.content) this.page.queue.hold();
    else this.page.queue.sendNext();
  }
}
