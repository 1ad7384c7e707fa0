// What every live view does: it follows the kernel's numbered messages, sends commands, and says what is wrong.

import { EMPTY, reduce } from "./reducer.js";
import { button, h, keepKeys } from "./dom.js";
import { Commands } from "./commands.js";

/**
 * One view of a widget, which may have several. Its state is the kernel's: a view draws it, and asks for changes.
 * A subclass puts `status`, `notice` and `hint` into its page, and calls `open` when it can be drawn.
 */
export class LiveView {
  /** @param {import("./commands.js").Model} model @param {HTMLElement} root */
  constructor(model, root) {
    this.model = model;
    this.root = root;
    /** @type {any} */
    this.state = EMPTY;
    this.frame = 0;
    this.greets = false;
    /** @type {string | null} */
    this.announced = null;
    this.commands = new Commands(model, (hint) => this.showHint(hint), (sentence) => this.lose(sentence));
    this.status = h("div", { class: "ipyllm-away", role: "status", "aria-live": "polite" });
    this.notice = h("div", { class: "ipyllm-notice", role: "alert", hidden: true });
    this.hint = h("div", { class: "ipyllm-hint", role: "status", hidden: true });
  }

  /** Show the page and follow the kernel from now on. @param {HTMLElement} section @param {() => void} tick called once a second */
  open(section, tick) {
    this.root.replaceChildren(section);
    this.freeKeys = keepKeys(section);
    this.onMessage = (/** @type {any} */ message) => this.take(message);
    this.model.on("msg:custom", this.onMessage);
    this.clock = setInterval(tick, 1000);
    this.take({ kind: "snapshot", state: this.model.get("snapshot") });
    this.sayHello();
  }

  /** @param {any} message */
  take(message) {
    if (message?.kind === "ack") this.commands.answer(message);
    else if (message?.kind === "notice") this.complain(String(message.text));
    else this.heard(message);
    const before = this.state;
    this.state = reduce(before, message);
    if (this.state.stale && before !== EMPTY) this.sayHello();
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  /** Take what is no news of the state, such as a text that was asked for. @param {any} _message */
  heard(_message) {}

  draw() {
    this.frame = 0;
  }

  /** Ask for a snapshot if there is more than we have seen; once at a time. */
  async sayHello() {
    if (this.greets) return;
    this.greets = true;
    await this.commands.send("hello", { seq: this.state.stale ? -1 : this.state.seq });
    this.greets = false;
    if (this.state.stale) setTimeout(() => this.state.stale && this.sayHello(), 1000);
  }

  /** Start and end are said, not every word. @param {string | null} running @param {string} begun @param {(id: string) => string} ended */
  announce(running, begun, ended) {
    if (this.commands.gone || running === this.announced) return;
    if (running !== null) this.status.textContent = begun;
    else if (this.announced) this.status.textContent = ended(this.announced);
    this.announced = running;
  }

  /** What came stays to be read; nothing pretends to go on. @param {string} sentence */
  lose(sentence) {
    this.complain(sentence);
    this.draw();
  }

  /**
   * @param {string} command
   * @param {Record<string, unknown>} [fields]
   * @returns {Promise<string | null>} what was wrong and is said here, or null
   */
  async ask(command, fields) {
    this.complain("");
    const error = await this.commands.send(command, fields);
    if (!error || this.isShown(error)) return null;
    this.complain(error);
    return error;
  }

  /** @param {string} _error @returns {boolean} whether the state says it already */
  isShown(_error) {
    return false;
  }

  /** @param {string} sentence what is wrong, or "" */
  complain(sentence) {
    this.notice.hidden = !sentence;
    this.notice.replaceChildren(...(sentence ? [h("span", { dir: "auto" }, sentence), button("close", "Dismiss", () => this.complain(""))] : []));
    if (sentence) this.notice.scrollIntoView({ block: "nearest" });
  }

  /** @param {string} hint */
  showHint(hint) {
    this.hint.hidden = !hint;
    this.hint.textContent = hint;
  }

  close() {
    this.freeKeys?.();
    this.model.off("msg:custom", /** @type {any} */ (this.onMessage));
    this.commands.close();
    clearInterval(this.clock);
    cancelAnimationFrame(this.frame);
    this.root.replaceChildren(); // ipywidgets holds on to the element of each closed view as long as the model lives
  }
}

/** @param {new (model: import("./commands.js").Model, root: HTMLElement) => LiveView} View what anywidget is to show */
export function renders(View) {
  return (/** @type {{model: import("./commands.js").Model, el: HTMLElement}} */ { model, el }) => {
    const view = new View(model, el);
    return () => view.close();
  };
}
