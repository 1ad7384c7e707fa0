// The chats of this tab whose answers go on while the page shows another one.

import { tabMemory } from "./tab_memory.js";

/**
 * `connection` is null after the end; `asked` is the question whose answer the history has, or will have; `question` its words, `after` how many answers stand before it.
 * @typedef {{connection: import("./connection.js").ChatConnection | null, asked: import("./page.js").Asked | null, isGreeted: boolean, question: string, after: number,
 *   failure: string, mark: string}} BackgroundChat
 */

/** Reads their answers to the end. */
export class BackgroundChats {
  /** @param {() => void} changed called when a chat has ended */
  constructor(changed) {
    this.changed = changed;
    /** @type {Map<string, BackgroundChat>} */
    this.chats = new Map();
  }

  /** What goes on in each conversation, as the list shows it. @returns {Record<string, string>} */
  get marks() {
    return Object.fromEntries([...this.chats].map(([name, { mark }]) => [name, mark]));
  }

  /** Keep a chat whose answer is being given. @param {string} conversation @param {Omit<BackgroundChat, "mark">} chat */
  keep(conversation, chat) {
    this.chats.set(conversation, { ...chat, mark: "running" });
  }

  /** Return a chat that is shown again. @param {string} conversation */
  take(conversation) {
    const chat = this.chats.get(conversation);
    this.chats.delete(conversation);
    return chat;
  }

  /** A conversation has another name, or none any more. @param {string} conversation @param {string | null} to */
  move(conversation, to) {
    const chat = this.take(conversation);
    if (chat && to !== null) this.chats.set(to, chat);
  }

  /** @param {import("./connection.js").ChatConnection} connection that has come back @param {boolean} resumed whether its session is still there */
  onHello(connection, resumed) {
    this.update(connection, (chat) => {
      const isFirst = !chat.isGreeted, { asked } = chat;
      chat.isGreeted = true;
      if (isFirst) return; // the question is on its way
      if (!resumed) this.end(chat, "failed"); // the history tells whether there is an answer
      else if (asked && !asked.isBegun) connection.send({ type: "ask", id: asked.id, message: asked.text, ...(asked.model ? { model: asked.model } : {}) });
    });
  }

  /** @param {import("./connection.js").ChatConnection} connection @param {any} message */
  onMessage(connection, { type, status, content, summary, answer, question, error }) {
    this.update(connection, (chat, conversation) => {
      if (type === "answer" && chat.asked && chat.asked.id === question) chat.asked.isBegun = true;
      else if (type === "error") {
        chat.failure = error.message;
        if (answer === undefined) this.endUnanswered(conversation, chat); // refused
      } else if (type === "done") {
        if (!content) {
          if (!chat.failure) chat.failure = status === "cancelled" ? "Stopped before the first word." : "The answer is empty.";
          this.endUnanswered(conversation, chat, summary);
        } else this.end(chat, status === "ok" ? "new" : "failed");
      }
    });
  }

  /** The server has closed a connection. @param {import("./connection.js").ChatConnection} connection */
  onClosed(connection) {
    this.update(connection, (chat) => this.end(chat, "failed"));
  }

  /** @param {import("./connection.js").ChatConnection} connection @param {(chat: BackgroundChat, conversation: string) => void} change */
  update(connection, change) {
    for (const [conversation, chat] of this.chats) if (chat.connection === connection) change(chat, conversation);
  }

  /** @param {string} conversation @param {BackgroundChat} chat @param {string} [summary] */
  endUnanswered(conversation, chat, summary) {
    const { question, failure, after } = chat;
    tabMemory.setUnanswered(conversation, [...tabMemory.unanswered(conversation), { text: question, error: failure, after, summary }]);
    chat.asked = null;
    this.end(chat, "failed");
  }

  /** @param {BackgroundChat} chat @param {string} mark */
  end(chat, mark) {
    chat.connection?.close();
    chat.connection = null;
    chat.mark = mark;
    this.changed();
  }
}
