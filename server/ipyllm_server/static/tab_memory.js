// What a tab remembers over a reload: the chat that it shows, and of each conversation what no history has: a draft, questions without an answer, and those that wait.

const CHAT = "ipyllm-chat", DRAFT = "ipyllm-drafts", UNANSWERED = "ipyllm-unanswered", QUEUE = "ipyllm-queue", UNSEEN = "ipyllm-unseen"; // keys of the tab's storage
const MOST_UNANSWERED = 20; // of a conversation

/**
 * A question without an answer: why it has none, the call of the answer before it, that of the answer whose place it takes, and what its own call took.
 * @typedef {{text: string, error: string, after: string | null, replaces?: string | null, summary?: string}} Unanswered
 */

/** @param {string} key @param {unknown} value */
function remember(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    sessionStorage.removeItem(key); // it is full after 5 MB: rather nothing after a reload than what was before
  }
}

/** @param {string} key @returns {any} */
function remembered(key) {
  return JSON.parse(sessionStorage.getItem(key) ?? "null");
}

/** @param {string} key @param {string | null} conversation @returns {any[]} what is kept of a conversation */
function listOf(key, conversation) {
  return new Map(remembered(key)).get(conversation) ?? [];
}

/** @param {string} key @param {string | null} conversation @param {any[]} items */
function setList(key, conversation, items) {
  const all = new Map(remembered(key));
  all.delete(conversation);
  if (items.length) all.set(conversation, items);
  remember(key, [...all]);
}

/** The storage of a tab. */
export const tabMemory = {
  get chat() { return remembered(CHAT); },
  set chat(value) { remember(CHAT, value); },

  /** @param {string | null} conversation null: a new chat @returns {string} */
  draft(conversation) { return listOf(DRAFT, conversation)[0] ?? ""; },
  /** @param {string | null} conversation @param {string} text */
  setDraft(conversation, text) { setList(DRAFT, conversation, text ? [text] : []); },

  /** @param {string | null} conversation @returns {Unanswered[]} the earliest first */
  unanswered(conversation) { return listOf(UNANSWERED, conversation); },
  /** @param {string | null} conversation @param {Unanswered[]} questions */
  setUnanswered(conversation, questions) { setList(UNANSWERED, conversation, questions.slice(-MOST_UNANSWERED)); },

  /** @param {string | null} conversation @returns {string[]} questions that wait */
  queue(conversation) { return listOf(QUEUE, conversation); },
  /** @param {string | null} conversation @param {string[]} questions */
  setQueue(conversation, questions) { setList(QUEUE, conversation, questions); },

  /** Chats whose answers go on unseen, by conversation. @returns {[string, import("./background_chats.js").KeptChat][]} */
  get unseen() { return remembered(UNSEEN) ?? []; },
  set unseen(chats) { remember(UNSEEN, chats); },

  /** Forget what belongs to a conversation, or keep it for its new name. @param {string | null} conversation null: one that has none yet @param {string | null} to */
  move(conversation, to) {
    for (const key of [DRAFT, UNANSWERED, QUEUE]) {
      const items = listOf(key, conversation);
      setList(key, conversation, []);
      if (to !== null) setList(key, to, items);
    }
  },
};
