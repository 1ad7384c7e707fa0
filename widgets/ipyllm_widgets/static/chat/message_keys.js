// The keyboard in the log: the buttons of all messages are one stop of the Tab key; arrows go from one to the next.

const TOOLBAR = "[role=toolbar]";

/** @param {Element | null | undefined} bar @returns {any[]} its buttons that can have the focus */
function buttonsOf(bar) {
  return [...(bar?.querySelectorAll("button") ?? [])].filter((button) => !button.disabled && !button.closest("[hidden]"));
}

/** Moves the focus as WAI-ARIA describes it for toolbars; up and down lead to those of the messages before and after. */
export class MessageKeys {
  /** @param {HTMLElement} log whose toolbars have buttons with the tabindex -1 */
  constructor(log) {
    this.log = log;
    /** @type {any} */
    this.stop = null; // the button that the Tab key reaches
    this.isChosen = false; // whether it has had the focus since the newest message came
    /** @type {Element | null} */
    this.last = null; // the newest message
    log.addEventListener("keydown", (event) => this.onKey(event));
    log.addEventListener("focusin", (event) => {
      const button = /** @type {Element} */ (event.target).closest("button");
      if (!button?.closest(TOOLBAR)) return;
      this.setStop(button);
      this.isChosen = true;
    });
  }

  /** After a change of the log: the newest message's buttons, unless one of the others was gone to and is still there. */
  refresh() {
    const last = this.log.lastElementChild;
    if (last !== this.last && !this.stop?.matches(":focus")) this.isChosen = false;
    this.last = last;
    if (this.isChosen && this.stop?.isConnected && buttonsOf(this.stop.closest(TOOLBAR)).includes(this.stop)) return;
    const bars = [...(last?.querySelectorAll(TOOLBAR) ?? [])].reverse();
    this.setStop(bars.flatMap((bar) => buttonsOf(bar).slice(0, 1))[0] ?? null);
  }

  /** @param {any} button */
  setStop(button) {
    if (button === this.stop) return;
    this.stop?.setAttribute("tabindex", "-1");
    button?.setAttribute("tabindex", "0");
    this.stop = button;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const button = /** @type {Element} */ (event.target).closest("button"), bar = button?.closest(TOOLBAR);
    if (!bar || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const buttons = buttonsOf(bar), at = buttons.indexOf(button);
    /** @type {Record<string, () => any>} */
    const targets = {
      ArrowRight: () => buttons[(at + 1) % buttons.length],
      ArrowLeft: () => buttons[(at + buttons.length - 1) % buttons.length],
      Home: () => buttons[0],
      End: () => buttons[buttons.length - 1],
      ArrowUp: () => this.beside(bar, -1),
      ArrowDown: () => this.beside(bar, 1),
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    targets[event.key]()?.focus();
  }

  /** @param {Element} bar @param {1 | -1} step @returns {any} the first button of the next toolbar that has one */
  beside(bar, step) {
    const bars = [...this.log.querySelectorAll(TOOLBAR)];
    for (let at = bars.indexOf(bar) + step; at >= 0 && at < bars.length; at += step) {
      const [first] = buttonsOf(bars[at]);
      if (first) return first;
    }
    return null;
  }
}
