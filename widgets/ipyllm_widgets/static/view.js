// Base class of the chat and comparison views: applies the kernel's messages, sends commands, shows errors.

import { EMPTY, reduce } from "./reducer.js";
import { button, h, isolateKeys } from "./dom.js";
import { Commands } from "./commands.js";

const STREAMING = "An answer is still streaming"; // the beginning of what is refused until it ends

/**
 * One of possibly several views of a widget. The kernel owns the state: a view draws it and sends commands.
 * A subclass puts `status`, `notice` and `hint` into its page, and calls `mount` when it can be drawn.
 */
export class LiveView {
  /** @param {import("./commands.js").Model} model @param {HTMLElement} root */
  constructor(model, root) {
    this.model = model;
    this.root = root;
    /** @type {any} */
    this.state = EMPTY;
    this.frame = 0;
    this.helloPending = false;
    this.draftTaken = false;
    /** @type {string | null} */
    this.announced = null;
    /** @type {import("./composer.js").Composer | undefined} */
    this.composer = undefined;
    this.commands = new Commands(model, (hint) => this.showHint(hint), (message) => this.onKernelGone(message), (obstacle) => this.withdrawError(obstacle));
    this.status = h("div", { class: "ipyllm-away", role: "status", "aria-live": "polite" });
    this.notice = h("div", { class: "ipyllm-notice", role: "alert", hidden: true });
    this.hint = h("div", { class: "ipyllm-hint", role: "status", hidden: true });
    this.undo = h("div", { class: "ipyllm-undo", role: "status", hidden: true });
    this.estimate = h("span", { class: "ipyllm-footer ipyllm-estimate" });
    /** @type {string | null} */
    this.estimatedFor = null;
  }

  /** Show the page and apply messages from now on. @param {HTMLElement} section @param {() => void} tick called once a second */
  mount(section, tick) {
    this.root.replaceChildren(section);
    this.releaseKeys = isolateKeys(section);
    this.composer?.takeDrops(section);
    if (this.composer) this.keepInSight(section, this.composer.element);
    this.onMessage = (/** @type {any} */ message, /** @type {DataView[]} */ buffers) => this.receive(message, buffers);
    this.model.on("msg:custom", this.onMessage);
    this.clock = setInterval(tick, 1000);
    this.receive({ kind: "snapshot", state: this.model.get("snapshot") });
    this.sayHello();
  }

  /**
   * Keep an element in sight that was so before the section grew, as long as the section has the focus.
   * @param {HTMLElement} section @param {HTMLElement} element
   */
  keepInSight(section, element) {
    let inSight = false;
    this.sight = new IntersectionObserver((entries) => (inSight = entries[entries.length - 1].intersectionRatio > 0.95), { threshold: [0.95] });
    this.sight.observe(element);
    // Observed sizes are told before intersections: `inSight` is that before the growth.
    this.growth = new ResizeObserver(() => {
      // Not when a panel above was opened: it has the focus, or the button that opens it.
      const focus = document.activeElement, above = ".ipyllm-head, .ipyllm-settings, .ipyllm-conversations";
      if (inSight && section.contains(focus) && !focus?.closest(above)) element.scrollIntoView({ block: "nearest" });
    });
    this.growth.observe(section);
  }

  /** @param {any} message @param {DataView[]} [buffers] */
  receive(message, buffers = []) {
    if (message?.kind === "ack") this.commands.acknowledge(message);
    else if (message?.kind === "text") this.commands.receiveText(message, buffers);
    else if (message?.kind === "prompts" && this.commands.unacknowledged.has(String(message.nonce))) this.composer?.prompts.show(message.items, message.problems);
    else if (message?.kind === "estimate") this.showEstimate(message);
    else if (message?.kind === "file") this.download(message);
    else if (message?.kind === "notice") this.showError(String(message.text));
    else this.receiveOther(message);
    const before = this.state;
    this.state = reduce(before, message);
    if (this.state.stale && before !== EMPTY) this.sayHello();
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
    // When the view opens, and for another conversation: later, the box has what was typed since.
    if (!this.draftTaken && typeof message?.state?.draft === "string") {
      this.draftTaken = true;
      this.composer?.showDraft(message.state.draft);
    }
  }

  /** Handle a message that changes no state. @param {any} _message */
  receiveOther(_message) {}

  draw() {
    this.frame = 0;
  }

  /** @param {{nonce: unknown, name: string, mime: string, text: string}} file */
  download({ nonce, name, mime, text }) {
    if (!this.commands.unacknowledged.has(String(nonce))) return; // requested by another view
    const address = URL.createObjectURL(new Blob([text], { type: mime }));
    const link = h("a", { href: address, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  /** Tell the kernel what is typed. @param {string} text @param {import("./composer.js").DraftCounts} counts */
  tellDraft(text, counts) {
    const isPrompt = this.composer?.prompts.open; // a name that is looked for, not what will be sent
    if (isPrompt || this.composer?.isEmpty) this.estimate.textContent = "";
    this.commands.tell("draft", isPrompt ? { text } : { text, ...counts, view: this.commands.view });
  }

  /** @param {{view: string, text: string}} message about what a page's draft would send and cost */
  showEstimate({ view, text }) {
    if (view === this.commands.view) this.estimate.textContent = this.composer?.isEmpty ? "" : text;
  }

  /** Estimate the draft again, if something else would be sent with it. @param {string} key of what would be sent with it */
  estimateAnew(key) {
    if (this.estimatedFor !== key) this.composer?.keepDraft(true);
    this.estimatedFor = key;
  }

  /** Request a snapshot if messages were missed; one request at a time. */
  async sayHello() {
    if (this.helloPending) return;
    this.helloPending = true;
    await this.commands.send("hello", { seq: this.state.stale ? -1 : this.state.seq });
    this.helloPending = false;
    if (this.state.stale) setTimeout(() => this.state.stale && this.sayHello(), 1000);
  }

  /**
   * Announce to screen readers what an answer waits for, its start and its end, not its words.
   * @param {string | null} running @param {string} state of the running answer @param {(id: string) => string} ended
   */
  announce(running, state, ended) {
    if (this.commands.gone) return;
    if (running !== null && this.status.textContent !== state) this.status.textContent = state;
    else if (running === null && this.announced) this.status.textContent = ended(this.announced);
    if (running === null) this.withdrawError(STREAMING);
    this.announced = running;
  }

  /** Keep the received text, and show nothing as running. @param {string} message */
  onKernelGone(message) {
    this.showError(message);
    this.draw();
  }

  /**
   * @param {string} command
   * @param {Record<string, unknown>} [fields]
   * @param {(text: string, files: File[]) => void} [onText] called with the text that was requested
   * @returns {Promise<string | null>} the error that is shown here, or null
   */
  async ask(command, fields, onText) {
    this.showError("");
    const error = await this.commands.send(command, fields, [], onText);
    if (!error || this.isShown(error)) return null;
    this.showError(error);
    return error;
  }

  /** @param {string} _error @returns {boolean} whether the state shows it already */
  isShown(_error) {
    return false;
  }

  /** @param {string} message the error, or "" */
  showError(message) {
    this.notice.hidden = !message;
    this.notice.replaceChildren(...(message ? [h("span", { dir: "auto" }, message), button("close", "Dismiss", () => this.showError(""))] : []));
    if (message) this.notice.scrollIntoView({ block: "nearest" });
  }

  /** Hide the error that is shown, because it holds no more. @param {string} beginning of its sentence */
  withdrawError(beginning) {
    if (this.notice.textContent?.startsWith(beginning)) this.showError("");
  }

  /** Offer to bring back what was deleted. @param {string} message what that was @param {() => Promise<string | null>} restore */
  offerUndo(message, restore) {
    const undo = h("button", { type: "button", class: "ipyllm-button", click: async () => {
      if (!(await restore())) this.hideUndo();
      this.composer?.input.focus();
    } }, "Undo");
    this.undo.replaceChildren(message, undo, button("close", "Dismiss", () => this.hideUndo()));
    this.undo.hidden = false;
  }

  hideUndo() {
    this.undo.replaceChildren();
    this.undo.hidden = true;
  }

  /** @param {string} hint */
  showHint(hint) {
    this.hint.hidden = !hint;
    this.hint.textContent = hint;
  }

  close() {
    this.sight?.disconnect();
    this.growth?.disconnect();
    this.releaseKeys?.();
    this.model.off("msg:custom", /** @type {any} */ (this.onMessage));
    this.commands.close();
    clearInterval(this.clock);
    cancelAnimationFrame(this.frame);
    this.root.replaceChildren(); // ipywidgets keeps the element of each closed view as long as the model lives
  }
}

/** Return the `render` function for anywidget. @param {new (model: import("./commands.js").Model, root: HTMLElement) => LiveView} View */
export function rendererOf(View) {
  return (/** @type {{model: import("./commands.js").Model, el: HTMLElement}} */ { model, el }) => {
    const view = new View(model, el);
    return () => view.close();
  };
}
