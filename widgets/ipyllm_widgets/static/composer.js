// The input for a question: text, images and files (pasted, dropped or chosen), prompts of one's own, and keyboard shortcuts.

import { button, h, icon } from "./dom.js";
import { fileChip, FileText } from "./files.js";
import { PromptMenu } from "./prompt_menu.js";

const DRAFT_AFTER_MS = 400; // without a key
const LONG_PASTE = 20_000; // characters; laying out a book in a text area takes seconds
/** What a question is answered with that cannot wait for its turn. */
export const STILL_STREAMING = "An answer is still streaming: stop it with Escape, or wait until it ends. Your text stays here.";
const SHEET = /\.(xlsx|xlsm|xls|ods)$/i;
const OFFICE = /\.(xlsx|xlsm|xls|ods|docx|doc|odt|pptx|ppt|odp)$/i;
const IMAGE_TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/**
 * What a draft has besides its text: the size of files that are sent as text, the number of images, and that of files whose text the page does not know.
 * @typedef {{file_bytes: number, images: number, uncounted: number}} DraftCounts
 */

/** Holds the draft of a question. */
export class Composer {
  /**
   * @param {{send: (text: string, files: File[]) => void, stop: () => void, editLast: () => void, draft?: (text: string, counts: DraftCounts) => void,
   *   listPrompts?: () => void, promptText?: (name: string, then: (text: string) => void) => void, queues?: boolean, placeholder?: string, obstacle?: () => string, showError: (message: string) => void, limits: () => {image: number, images: number}}} actions
   */
  constructor(actions) {
    this.actions = actions;
    /** @type {File[]} */
    this.files = [];
    /** @type {string[]} long pasted texts, which the text area does not contain */
    this.pastedTexts = [];
    this.running = false;
    this.draft = ""; // as last given to `actions.draft`
    this.counted = ""; // likewise
    this.input = h("textarea", {
      class: "ipyllm-input",
      rows: 1,
      dir: "auto",
      placeholder: actions.placeholder ?? "Ask the model …",
      "aria-label": "Message. Enter sends, Shift+Enter begins a new line, Escape stops an answer, arrow up edits your last message, a slash at the beginning lists your prompts.",
      keydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event),
      input: () => {
        this.refresh();
        if (actions.listPrompts) this.prompts.refresh();
      },
      blur: () => {
        this.keepDraft();
        this.prompts.close();
      },
      paste: (/** @type {ClipboardEvent} */ event) => {
        const files = [...(event.clipboardData?.files ?? [])];
        const text = event.clipboardData?.getData("text/plain") ?? "";
        const isDocument = text && event.clipboardData?.types.includes("text/html"); // which office programs copy with its picture
        if (files.length && !isDocument) this.add(files);
        else if (text.length > LONG_PASTE) this.addText(text);
        else return;
        event.preventDefault();
      },
    });
    this.prompts = new PromptMenu(this.input, {
      list: () => actions.listPrompts?.(),
      text: (name, then) => actions.promptText?.(name, then),
      put: (text) => {
        this.input.value = text;
        this.input.setSelectionRange(text.length, text.length);
        this.refresh();
      },
    });
    this.filePicker = h("input", {
      type: "file",
      multiple: true,
      class: "ipyllm-away",
      tabindex: -1,
      "aria-label": "Files",
      change: () => {
        this.add([...this.filePicker.files]);
        this.filePicker.value = "";
      },
    });
    this.thumbnails = h("div", { class: "ipyllm-images ipyllm-draft" });
    this.fileText = new FileText();
    this.attachButton = button("attach", "Add images or files: text, CSV, code, PDF", () => this.filePicker.click(), "ipyllm-icon ipyllm-attach");
    this.sendButton = button("send", "Send", () => (this.running ? actions.stop() : this.submit()), "ipyllm-go");
    // A growing answer moves the button while the mouse button is down: capture the pointer, so that it is still a click.
    this.sendButton.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => this.sendButton.setPointerCapture(event.pointerId));
    this.element = h(
      "div",
      { class: "ipyllm-composer" },
      this.prompts.element,
      this.thumbnails,
      this.fileText.element,
      h("div", { class: "ipyllm-line" }, this.attachButton, this.filePicker, this.input, this.sendButton),
    );
    this.refresh();
  }

  /** @param {boolean} running */
  setRunning(running) {
    if (running === this.running) return; // told at every drawing: the draft would wait on
    this.running = running;
    this.refresh();
  }

  refresh() {
    const label = this.running ? "Stop the answer" : "Send";
    // Only on a change: replacing an element while the mouse button is down loses the click.
    if (this.sendButton.title !== label) {
      this.sendButton.replaceChildren(icon(this.running ? "stop" : "send"));
      this.sendButton.title = label;
      this.sendButton.setAttribute("aria-label", label);
    }
    if (this.actions.queues) this.input.placeholder = this.running ? "Ask the next question …" : (this.actions.placeholder ?? "Ask the model …");
    clearTimeout(this.draftTimer);
    this.draftTimer = setTimeout(() => this.keepDraft(), DRAFT_AFTER_MS);
    this.sendButton.disabled = !this.running && !this.input.value.trim() && !this.files.length && !this.pastedTexts.length;
  }

  /** The text that would be sent. */
  get text() {
    return [this.input.value, ...this.pastedTexts].filter((piece) => piece.trim()).join("\n\n");
  }

  /** Hand out the draft, if it has changed. @param {boolean} [anew] also if it has not, but is not empty */
  keepDraft(anew = false) {
    clearTimeout(this.draftTimer);
    const counts = countsOf(this.files), counted = JSON.stringify(counts);
    if (this.text === this.draft && counted === this.counted && !(anew && !this.isEmpty)) return;
    this.draft = this.text;
    this.counted = counted;
    this.actions.draft?.(this.draft, counts);
  }

  /** Whether nothing would be sent. */
  get isEmpty() {
    return !this.text && !this.files.length;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.isComposing) return; // Enter selects a character
    if (this.prompts.onKey(event)) event.stopPropagation();
    else if (event.key === "Enter" && !event.shiftKey && !event.altKey) this.submit();
    else if (event.key === "Escape" && this.running) this.actions.stop();
    else if (event.key === "ArrowUp" && !this.input.value && !this.running) this.actions.editLast();
    else return;
    event.preventDefault();
  }

  submit() {
    const text = this.text;
    if (this.running && !this.actions.queues) {
      this.actions.showError(STILL_STREAMING);
      return;
    }
    if (!text && !this.files.length) return;
    const obstacle = this.actions.obstacle?.();
    if (obstacle) {
      this.actions.showError(obstacle);
      return;
    }
    const files = this.files;
    this.prompts.close();
    this.input.value = "";
    this.files = [];
    this.pastedTexts = [];
    this.draft = ""; // sending ends it in the kernel, too
    this.showThumbnails();
    this.refresh();
    this.actions.send(text, files);
  }

  /** Show a draft of before. @param {string} text */
  showDraft(text) {
    this.draft = text;
    if (text && !this.text) this.restore(text, []);
  }

  /** Empty the box, because the draft belongs to a conversation that is no longer shown. */
  takeAway() {
    this.input.value = this.draft = "";
    this.files = [];
    this.pastedTexts = [];
    this.showThumbnails();
    this.refresh();
  }

  close() {
    this.keepDraft();
  }

  /** Put a question back that was not sent, before what was typed since. @param {string} text @param {File[]} files */
  restore(text, files) {
    if (text.length > LONG_PASTE) this.pastedTexts = [...this.pastedTexts, text];
    else this.input.value = [text, this.input.value].filter(Boolean).join("\n\n");
    this.files = [...files, ...this.files];
    this.showThumbnails();
    this.refresh();
  }

  /** @param {File[]} files */
  add(files) {
    const limits = this.actions.limits();
    for (const file of files) {
      const total = this.files.reduce((sum, other) => sum + other.size, file.size);
      if (file.type.startsWith("image/") && !IMAGE_TYPES.includes(file.type) && file.type !== "image/svg+xml") this.actions.showError(`“${file.name}” is not an image that models accept: use PNG, JPEG, GIF or WebP.`);
      else if (isImage(file) && file.size > limits.image) this.actions.showError(`“${file.name}” has ${megabytes(file.size)}, more than ${megabytes(limits.image)}: make it smaller first.`);
      else if (OFFICE.test(file.name)) this.actions.showError(`“${file.name}” cannot be read: save ${SHEET.test(file.name) ? "the sheet as CSV" : "it as PDF or text"}, and add that.`);
      else if (!file.size) this.actions.showError(`“${file.name}” is empty.`);
      else if (total > limits.images) this.actions.showError(`The files have ${megabytes(total)} in total; a message may have ${megabytes(limits.images)}.`);
      else this.files = [...this.files, file];
    }
    this.showThumbnails();
    this.refresh();
    this.input.focus();
  }

  /** Take files that are dropped anywhere in a section; text that is dragged falls into the box as usual. @param {HTMLElement} section */
  takeDrops(section) {
    const mark = (/** @type {boolean} */ over) => this.element.classList.toggle("ipyllm-dropping", over);
    const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
    section.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(true);
    });
    section.addEventListener("dragleave", (event) => section.contains(/** @type {Node | null} */ (event.relatedTarget)) || mark(false));
    section.addEventListener("drop", (event) => {
      mark(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry());
      const folders = entries.flatMap((entry) => (entry?.isDirectory ? [entry.name] : []));
      this.add([...(event.dataTransfer?.files ?? [])].filter((file) => !folders.includes(file.name)));
      for (const name of folders) this.actions.showError(`“${name}” is a folder: add the files in it.`);
    });
  }

  /** @param {string} text */
  addText(text) {
    this.pastedTexts = [...this.pastedTexts, text];
    this.showThumbnails();
    this.refresh();
  }

  removed() {
    this.showThumbnails();
    this.refresh();
    this.input.focus();
  }

  showThumbnails() {
    for (const image of this.thumbnails.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    this.fileText.close();
    this.thumbnails.replaceChildren(
      ...this.files.map((file) => {
        const remove = () => {
          this.files = this.files.filter((other) => other !== file);
          this.removed();
        };
        if (isImage(file)) return h("span", { class: "ipyllm-thumbnail" }, h("img", { src: URL.createObjectURL(file), alt: file.name }), button("close", `Remove ${file.name}`, remove));
        const text = isPdf(file) ? undefined : (/** @type {(text: string) => void} */ then) => void file.text().then(then, () => this.actions.showError(UNREADABLE_FILE));
        return fileChip({ name: file.name, note: sizeText(file.size), text, remove }, this.fileText);
      }),
      ...this.pastedTexts.map((text) =>
        fileChip({
          name: "Pasted text",
          note: `${text.length.toLocaleString()} characters`,
          text: (then) => then(text),
          remove: () => {
            this.pastedTexts = this.pastedTexts.filter((other) => other !== text);
            this.removed();
          },
        }, this.fileText),
      ),
    );
    this.thumbnails.hidden = !this.files.length && !this.pastedTexts.length;
  }
}

/** @param {File} file @returns {boolean} whether it is sent as an image, not as text */
export function isImage(file) {
  return IMAGE_TYPES.includes(file.type);
}

/** @param {File} file @returns {boolean} whether only the kernel can tell its text */
function isPdf(file) {
  return file.type === "application/pdf" || (!file.type && /\.pdf$/i.test(file.name));
}

/** @param {File[]} files @returns {DraftCounts} */
function countsOf(files) {
  const texts = files.filter((file) => !isImage(file));
  return {
    file_bytes: texts.filter((file) => !isPdf(file)).reduce((sum, file) => sum + file.size, 0),
    images: files.length - texts.length,
    uncounted: texts.filter(isPdf).length,
  };
}

/** @param {number} size in bytes */
function sizeText(size) {
  if (size < 1000) return `${size} B`;
  return size < 999_500 ? `${(size / 1000).toFixed(size < 9_950 ? 1 : 0)} kB` : megabytes(size);
}

/**
 * Read the files of a draft, for a command that sends them.
 * @param {File[]} files
 * @returns {Promise<{names: string[], buffers: ArrayBuffer[]} | null>} their names, empty for images; null if one cannot be read
 */
export async function readFiles(files) {
  try {
    return { names: files.map((file) => (isImage(file) ? "" : file.name)), buffers: await Promise.all(files.map((file) => file.arrayBuffer())) };
  } catch {
    return null;
  }
}

export const UNREADABLE_FILE = "A file cannot be read: it was changed, moved or deleted, or it is a folder. Remove it, or add it again.";

/** @param {number} size */
function megabytes(size) {
  return `${(size / 1e6).toFixed(1)} MB`;
}
