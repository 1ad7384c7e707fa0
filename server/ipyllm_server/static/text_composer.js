// The composer of the page. The socket takes text only: so files of text go within the message, and others are refused, with the reason.

import { Composer, isImage, UNREADABLE_FILE } from "./composer.js";

const MOST_BYTES = 1_000_000; // of all files of a message
const IN_NOTEBOOK = "Add it to the chat in a notebook";

/** A composer that sends text only. */
export class TextComposer extends Composer {
  /** @param {ConstructorParameters<typeof Composer>[0] & {send: (text: string) => void}} actions */
  constructor(actions) {
    super({
      ...actions,
      send: async (text, files) => {
        const message = await this.messageOf(text, files);
        if (message === null) this.restore(text, files);
        else actions.send(message);
      },
    });
    this.attachButton.title = "Add files of text: notes, CSV, code";
    this.attachButton.setAttribute("aria-label", this.attachButton.title);
  }

  /** @param {File[]} files */
  add(files) {
    const isPdf = (/** @type {File} */ file) => file.type === "application/pdf" || /\.pdf$/i.test(file.name);
    const refused = files.find((file) => isImage(file) || isPdf(file));
    if (refused) this.actions.showError(`“${refused.name}” cannot be sent from this page, which sends text only. ${IN_NOTEBOOK}${isPdf(refused) ? ", or copy its text" : ""}.`);
    super.add(files.filter((file) => !isImage(file) && !isPdf(file)));
  }

  /** Return the message with its files as the widget sends them; null if one cannot be sent. @param {string} text @param {File[]} files */
  async messageOf(text, files) {
    const parts = text ? [text] : [];
    for (const file of files) {
      const content = await readText(file);
      if (content === null) {
        this.actions.showError(file.size ? `“${file.name}” is no text in UTF-8. Remove it, or save it as text.` : UNREADABLE_FILE);
        return null;
      }
      parts.push(`<file name="${file.name.replace(/[<>"\n]/g, "_")}">\n${content}\n</file>`);
    }
    return parts.join("\n\n");
  }
}

/** @param {File} file @returns {Promise<string | null>} null if it is no text, or cannot be read */
async function readText(file) {
  try {
    const content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return content.includes("\0") ? null : content;
  } catch {
    return null;
  }
}

/** What a message of the page may have. */
export const TEXT_LIMITS = { image: 0, images: MOST_BYTES };
