// The chat: a log of turns, a composer, settings. Its state is the kernel's; the view only draws it.

import { EMPTY, reduce } from "./reducer.js";
import { button, h, keepKeys } from "./dom.js";
import { Commands } from "./commands.js";
import { TurnView } from "./turn.js";
import { Composer } from "./composer.js";
import { SettingsPanel } from "./settings.js";

const FORMATS = { md: "Markdown", html: "Web page", ipynb: "Notebook", json: "JSON" };
const NEAR_END_PX = 60;

/** One view of a chat; a widget may have several. */
class ChatView {
  /** @param {import("./commands.js").Model} model @param {HTMLElement} root */
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.state = EMPTY;
    /** @type {Map<string, TurnView>} */
    this.views = new Map();
    /** @type {Set<HTMLElement>} */
    this.pending = new Set();
    /** @type {Map<string, (text: string) => void>} */
    this.wanted = new Map();
    this.follows = true; // whether the log is scrolled along with the answer
    this.frame = 0;
    this.asked = false;
    /** @type {string | null} */
    this.announced = null;
    this.commands = new Commands(model, (hint) => this.showHint(hint), (sentence) => this.lose(sentence));
    this.settings = new SettingsPanel(async (changes) => void (await this.ask("set", changes)), (sentence) => this.complain(sentence));
    this.composer = new Composer({
      send: (text, files) => this.send(text, files),
      stop: () => this.ask("stop"),
      editLast: () => this.editLast(),
      complain: (sentence) => this.complain(sentence),
      limits: () => this.state.settings.limits,
    });
    this.actions = {
      again: (/** @type {string} */ id) => this.ask("again", { id }),
      edit: (/** @type {string} */ id, /** @type {string} */ text) => this.ask("edit", { id, text }),
      select: (/** @type {string} */ id, /** @type {number} */ to) => this.ask("select", { id, to }),
      remove: (/** @type {string} */ id) => {
        this.ask("delete", { id });
        this.composer.input.focus();
      },
      whole: (/** @type {string} */ id, /** @type {(text: string) => void} */ then) => {
        this.wanted.set(id, then);
        this.ask("text", { id });
      },
    };
    // Turns grow after they are drawn: when they come into sight, when a picture has loaded, when a fold is opened.
    this.sizes = new ResizeObserver(() => this.stay());
    this.build();
    this.freeKeys = keepKeys(/** @type {HTMLElement} */ (root.firstElementChild));
    this.onMessage = (/** @type {any} */ message) => this.take(message);
    model.on("msg:custom", this.onMessage);
    this.clock = setInterval(() => this.views.get(this.state.running ?? "")?.tick(), 1000);
    this.take({ kind: "snapshot", state: model.get("snapshot") });
    this.sayHello();
  }

  build() {
    this.log = h("div", { class: "ipyllm-log", role: "log", "aria-live": "off", "aria-label": "Conversation", tabindex: 0 });
    this.log.addEventListener("scroll", () => {
      this.follows = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_END_PX;
      this.newest.hidden = this.follows;
    });
    this.newest = h("button", { type: "button", class: "ipyllm-newest ipyllm-button", hidden: true, click: () => this.toEnd() }, "↓ Newest");
    this.status = h("div", { class: "ipyllm-away", role: "status", "aria-live": "polite" });
    this.notice = h("div", { class: "ipyllm-notice", role: "alert", hidden: true });
    this.hint = h("div", { class: "ipyllm-hint", role: "status", hidden: true });
    this.empty = h("p", { class: "ipyllm-nothing" }, "Ask something. Enter sends, Shift+Enter begins a new line.");
    this.totals = h("div", { class: "ipyllm-footer ipyllm-totals" });
    const toggle = h("button", { type: "button", class: "ipyllm-button", "aria-expanded": "false", click: () => {
      const open = this.settings.element.hidden;
      this.settings.element.hidden = !open;
      toggle.setAttribute("aria-expanded", String(open));
      if (open) this.settings.system.focus();
    } }, "Settings");
    const formats = h("select", { class: "ipyllm-input ipyllm-export", "aria-label": "Export the chat", change: () => {
      if (formats.value) this.ask("export", { format: formats.value });
      formats.value = "";
    } }, h("option", { value: "" }, "Export"), ...Object.entries(FORMATS).map(([value, name]) => h("option", { value }, name)));
    const clear = h("button", { type: "button", class: "ipyllm-button", click: () => {
      // Twice: there is no way back.
      if (clear.textContent !== "Clear") this.ask("clear");
      clear.textContent = clear.textContent === "Clear" ? "Clear all?" : "Clear";
    }, blur: () => (clear.textContent = "Clear") }, "Clear");
    this.root.replaceChildren(h(
      "section",
      {
        class: "ipyllm-widget ipyllm-chat",
        "aria-label": "Chat with a language model",
        keydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key === "Escape" && this.composer.running && !event.defaultPrevented) this.ask("stop");
        },
        dragover: (/** @type {DragEvent} */ event) => event.preventDefault(),
        drop: (/** @type {DragEvent} */ event) => {
          event.preventDefault();
          event.stopPropagation();
          this.composer.add([...(event.dataTransfer?.files ?? [])]);
        },
      },
      h("div", { class: "ipyllm-head" }, this.settings.model, this.settings.options, toggle, formats, clear),
      this.settings.element,
      h("div", { class: "ipyllm-middle" }, this.log, this.newest),
      this.status,
      this.notice,
      this.hint,
      this.composer.element,
      this.totals,
    ));
  }

  /** @param {any} message */
  take(message) {
    if (message?.kind === "ack") this.commands.answer(message);
    else if (message?.kind === "notice") this.complain(String(message.text));
    else if (message?.kind === "text") this.takeText(message);
    else if (message?.kind === "file") this.takeFile(message);
    const before = this.state;
    this.state = reduce(before, message);
    if (this.state.stale && before !== EMPTY) this.sayHello();
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  /** Ask for a snapshot if there is more than we have seen; once at a time. */
  async sayHello() {
    if (this.asked) return;
    this.asked = true;
    await this.commands.send("hello", { seq: this.state.stale ? -1 : this.state.seq });
    this.asked = false;
    if (this.state.stale) setTimeout(() => this.state.stale && this.sayHello(), 1000);
  }

  draw() {
    this.frame = 0;
    const { order, turns, settings } = this.state;
    const gone = this.commands.gone;
    const running = gone ? null : this.state.running;
    const resting = running === null;
    for (const [id, view] of this.views) {
      if (!turns.has(id)) {
        this.sizes.unobserve(view.element);
        view.element.remove();
        this.views.delete(id);
      }
    }
    let at = this.log.firstElementChild;
    for (const id of order) {
      let view = this.views.get(id);
      if (!view) {
        view = new TurnView(id, this.actions);
        this.sizes.observe(view.element);
        this.views.set(id, view);
      }
      if (at && view.element === at) at = at.nextElementSibling;
      else this.log.insertBefore(view.element, at);
      view.update(/** @type {import("./reducer.js").Turn} */ (turns.get(id)), resting, gone);
    }
    this.empty.remove();
    if (!order.length && !this.pending.size) this.log.prepend(this.empty);
    this.announce(running);
    this.settings.update(settings);
    this.composer.setRunning(!resting);
    this.totals.textContent = [`Conversation “${settings.conversation}”`, this.state.totals].filter(Boolean).join(" · ");
    this.stay();
    this.newest.hidden = this.follows;
  }

  /** Keep the end in sight, unless the reader has gone elsewhere. */
  stay() {
    if (this.follows) this.log.scrollTop = this.log.scrollHeight;
  }

  /** Start and end are said, not every word. @param {string | null} running */
  announce(running) {
    if (this.commands.gone || running === this.announced) return;
    if (running !== null) this.status.textContent = "The answer has begun.";
    else if (this.announced) {
      const turn = this.state.turns.get(this.announced);
      this.status.textContent = turn?.error ? `The answer failed: ${turn.error}` : `The answer has ended. ${turn?.footer ?? ""}`;
    }
    this.announced = running;
  }

  /** What came stays to be read; nothing pretends to go on. @param {string} sentence */
  lose(sentence) {
    this.complain(sentence);
    this.draw();
  }

  toEnd() {
    this.follows = true;
    this.log.scrollTop = this.log.scrollHeight;
    this.newest.hidden = true;
    this.composer.input.focus();
  }

  /** @param {string} command @param {Record<string, unknown>} [fields] @returns {Promise<boolean>} whether it was taken */
  async ask(command, fields) {
    this.complain("");
    const error = await this.commands.send(command, fields);
    if (!error || this.isShown(error)) return true;
    this.complain(error);
    return false;
  }

  /** @param {string} error whether a turn says it already */
  isShown(error) {
    const last = this.state.turns.get(this.state.order[this.state.order.length - 1]);
    return last?.error === error;
  }

  /** @param {string} text @param {File[]} files */
  async send(text, files) {
    this.complain("");
    // Shown at once, whatever the kernel is busy with.
    const shown = h("div", { class: "ipyllm-question ipyllm-pending" }, h("div", { class: "ipyllm-bubble" },
      h("div", { class: "ipyllm-words", dir: "auto" }, text.slice(0, 1200))));
    this.pending.add(shown);
    this.empty.remove();
    this.log.append(shown);
    this.toEnd();
    const error = await this.post(text, files);
    this.pending.delete(shown);
    shown.remove();
    if (error && !this.isShown(error)) {
      this.complain(error);
      this.composer.restore(text, files);
    }
  }

  /** @param {string} text @param {File[]} files @returns {Promise<string | null>} what was wrong */
  async post(text, files) {
    let buffers;
    try {
      buffers = await Promise.all(files.map((file) => file.arrayBuffer()));
    } catch {
      return "An image cannot be read any more: it was changed, moved or deleted. Remove it, or add it again.";
    }
    return this.commands.send("send", { text }, buffers);
  }

  editLast() {
    const last = this.views.get(this.state.order[this.state.order.length - 1]);
    last?.edit();
  }

  /** @param {{id: string, text: string}} message */
  takeText({ id, text }) {
    const then = this.wanted.get(id);
    this.wanted.delete(id);
    then?.(String(text));
  }

  /** @param {{nonce: unknown, name: string, mime: string, text: string}} file */
  takeFile({ nonce, name, mime, text }) {
    if (!this.commands.open.has(String(nonce))) return; // another view's
    const address = URL.createObjectURL(new Blob([text], { type: mime }));
    const link = h("a", { href: address, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
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
    this.freeKeys();
    this.model.off("msg:custom", this.onMessage);
    this.commands.close();
    clearInterval(this.clock);
    this.sizes.disconnect();
    cancelAnimationFrame(this.frame);
    this.root.replaceChildren(); // ipywidgets holds on to the element of each closed view as long as the model lives
  }
}

/** @param {{model: import("./commands.js").Model, el: HTMLElement}} context */
function render({ model, el }) {
  const view = new ChatView(model, el);
  return () => view.close();
}

export default { render };
