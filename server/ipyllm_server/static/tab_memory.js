// What a tab remembers over a reload: the chat that it shows, the draft, and questions without an answer, which no history has.

const CHAT = "ipyllm-chat", DRAFT = "ipyllm-draft", UNANSWERED = "ipyllm-unanswered"; // keys of the tab's storage
const MOST_UNANSWERED = 20; // of a conversation

/** A question without an answer: how many answers stand before it, and why it has none. @typedef {{text: string, error: string, after: number}} Unanswered */

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

/** The storage of a tab. */
export const tabMemory = {
  get chat() { return remembered(CHAT); },
  set chat(value) { remember(CHAT, value); },
  get draft() { return remembered(DRAFT) ?? ""; },
  set draft(text) { remember(DRAFT, text); },

  /** @param {string | null} conversation @returns {Unanswered[]} the earliest first */
  unanswered(conversation) {
    return new Map(remembered(UNANSWERED)).get(conversation) ?? [];
  },

  /** @param {string | null} conversation @param {Unanswered[]} questions */
  setUnanswered(conversation, questions) {
    const all = new Map(remembered(UNANSWERED));
    all.delete(conversation);
    if (questions.length) all.set(conversation, questions.slice(-MOST_UNANSWERED));
    remember(UNANSWERED, [...all]);
  },
};
