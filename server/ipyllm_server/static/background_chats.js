// The chats of this tab whose answers go on while the page shows another one.

import { NO_ANSWER, reasonOf } from "./exchange.js";
import { tabMemory } from "./tab_memory.js";

/**
 * `connection` is null after the end; `asked` is the question whose answer the history has, or will have; `question` its words, `after` the call of the answer before it,
 * `replaces` that of the answer in whose place it is asked.
 * @typedef {{connection: import("./connection.js").ChatConnection | null, asked: import("./shown_chat.js").Asked | null, isGreeted: boolean, question: string,
 *   after: string | null, replaces: string | null, failure: string, mark: string}} BackgroundChat
 * What outlives a reload: `session` and `answer` are those of the connection.
 * @typedef {Omit<BackgroundChat, "connection" | "isGreeted"> & {session: string, answer: number}} KeptChat
 */

/** Reads their answers to the end, a reload of the page between. */
export class BackgroundChats {
  /** @param {() => void} changed called when a chat has ended @param {(conversation: string, session: string, answer: number) => import("./connection.js").ChatConnection} connect */
  constructor(changed, connect) {
    this.changed = changed;
    this.connect = connect;
    /** @type {Map<string, BackgroundChat>} */
    this.chats = new Map();
  }

  /** Go on with the chats of before a reload. */
  comeBack() {
    for (const [conversation, { session, answer, ...kept }] of tabMemory.unseen) {
      const connection = kept.mark === "running" ? this.connect(conversation, session, answer) : null;
      this.chats.set(conversation, { ...kept, connection, isGreeted: session !== "" });
      if (connection && !session && kept.asked) connection.send(askMessage(kept.asked)); // which it could not before
    }
  }

  /** Keep them for after a reload. */
  save() {
    tabMemory.unseen = [...this.chats].map(([conversation, { connection, isGreeted, ...kept }]) =>
      [conversation, { ...kept, session: connection?.session ?? "", answer: connection?.answer ?? 0 }]);
  }

  /** What goes on in each conversation, as the list shows it. @returns {Record<string, string>} */
  get marks() {
    return Object.fromEntries([...this.chats].map(([name, { mark }]) => [name, mark]));
  }

  /** Keep a chat whose answer is being given. @param {string} conversation @param {Omit<BackgroundChat, "mark">} chat */
  keep(conversation, chat) {
    this.chats.set(conversation, { ...chat, mark: "running" });
    this.save();
  }

  /** Return a chat that is shown again. @param {string} conversation */
  take(conversation) {
    const chat = this.chats.get(conversation);
    this.chats.delete(conversation);
    this.save();
    return chat;
  }

  /** A conversation has another name, or none any more. @param {string} conversation @param {string | null} to */
  move(conversation, to) {
    const chat = this.take(conversation);
    if (!chat || to === null) return;
    this.chats.set(to, chat);
    if (chat.connection) chat.connection.conversation = to; // for the next time that it connects
    this.save();
  }

  /** @param {import("./connection.js").ChatConnection} connection that has come back @param {boolean} resumed whether its session is still there */
  onHello(connection, resumed) {
    this.update(connection, (chat) => {
      const isFirst = !chat.isGreeted, { asked } = chat;
      chat.isGreeted = true;
      if (isFirst) return; // the question is on its way
      if (!resumed) connection.send({ type: "history" }); // which tells whether there is an answer
      else if (asked && !asked.isBegun) connection.send(askMessage(asked)); // with its id: it is answered once
    });
  }

  /** @param {import("./connection.js").ChatConnection} connection @param {any} message */
  onMessage(connection, { type, status, content, summary, answer, question, error, messages }) {
    this.update(connection, (chat, conversation) => {
      if (type === "answer" && chat.asked && chat.asked.id === question) chat.asked.isBegun = true;
      else if (type === "error") {
        chat.failure = error.message;
        if (answer === undefined) this.endUnanswered(conversation, chat); // refused
      } else if (type === "done") {
        if (!content) {
          chat.failure = reasonOf(chat.failure, status);
          this.endUnanswered(conversation, chat, summary);
        } else this.end(chat, status === "ok" ? "new" : "failed");
      } else if (type === "history") this.onHistory(conversation, chat, messages);
    });
  }

  /** The session of before is no more. @param {string} conversation @param {BackgroundChat} chat @param {any[]} messages */
  onHistory(conversation, chat, messages) {
    const at = messages.findIndex(({ id }) => id !== undefined && id === chat.asked?.id);
    if (at >= 0) this.end(chat, messages[at + 1]?.status ? "failed" : "new");
    else {
      chat.failure = NO_ANSWER;
      this.endUnanswered(conversation, chat);
    }
  }

  /** The server has closed a connection. @param {import("./connection.js").ChatConnection} connection */
  onClosed(connection) {
    this.update(connection, (chat) => this.end(chat, "failed"));
  }

  /** @param {import("./connection.js").ChatConnection} connection @param {(chat: BackgroundChat, conversation: string) => void} change */
  update(connection, change) {
    for (const [conversation, chat] of this.chats) if (chat.connection === connection) change(chat, conversation);
    this.save();
  }

  /** @param {string} conversation @param {BackgroundChat} chat @param {string} [summary] */
  endUnanswered(conversation, chat, summary) {
    const { question, failure, after, replaces } = chat;
    tabMemory.setUnanswered(conversation, [...tabMemory.unanswered(conversation), { text: question, error: failure, after, replaces, summary }]);
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

/** Return the message that asks a question. @param {import("./shown_chat.js").Asked} asked */
export function askMessage({ id, text, model, replaces }) {
  return { type: "ask", id, message: text, ...(model ? { model } : {}), ...(replaces ? { replaces } : {}) };
}
