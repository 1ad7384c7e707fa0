// The view of one answer of a comparison.

import { button, copyButton, h, shownText } from "../dom.js";
import { PartView } from "../part.js";
import { WaitingLine } from "../waiting.js";

/**
 * @typedef {{id: string, mark: string, label: string, status: string, footer: string, note: string, error: string | null,
 *   preferred: boolean, waiting: import("../waiting.js").Waiting | null, parts: Record<string, import("../reducer.js").Part>}} Column
 * @typedef {{insertCode: ((code: string) => void) | null, stop: (mark: string) => void, expand: (id: string) => void, regenerate: (mark: string) => void,
 *   requestSource: (mark: string, then: (text: string) => void) => void}} ColumnActions
 */

/** Shows one column; an update touches only what has changed. */
export class ColumnView {
  /** @param {string} id @param {ColumnActions} actions */
  constructor(id, actions) {
    /** @type {Column | null} */
    this.column = null;
    this.gone = false;
    this.startedAt = performance.now();
    this.waitingLine = new WaitingLine();
    this.mark = h("b", { class: "ipyllm-mark" });
    this.label = h("span", { class: "ipyllm-whose" });
    this.expand = h("button", { type: "button", class: "ipyllm-link", click: () => actions.expand(id) }, "Expand");
    this.stop = button("stop", "Stop this answer", () => actions.stop(this.column?.mark ?? ""));
    const reasoning = h("div"), tools = h("div"), text = h("div", { class: "ipyllm-text" });
    this.reasoning = h("details", { class: "ipyllm-reasoning" }, h("summary", {}, "Reasoning"), reasoning);
    /** @type {Record<string, PartView>} */
    this.parts = { reasoning: new PartView(reasoning), tools: new PartView(tools), text: new PartView(text, actions.insertCode) };
    this.waiting = h("div", { class: "ipyllm-footer ipyllm-waiting", "aria-hidden": "true" });
    this.note = h("div", { class: "ipyllm-footer", dir: "auto" });
    this.error = h("div", { class: "ipyllm-error" });
    this.regenerate = button("regenerate", "Answer again", () => actions.regenerate(this.column?.mark ?? ""));
    this.footer = h("span", { class: "ipyllm-footer" });
    this.copy = copyButton("Copy answer", (copy) => (this.gone ? copy(shownText(text)) : actions.requestSource(this.column?.mark ?? "", copy)));
    this.element = h(
      "article",
      { class: "ipyllm-column", "data-turn": id, tabindex: 0 },
      h("header", {}, this.mark, this.label, this.expand, this.stop),
      this.note, this.reasoning, tools, text, this.waiting, this.error,
      h("div", { class: "ipyllm-foot" }, this.footer, this.copy, this.regenerate),
    );
  }

  /** @param {Column} column @param {{expanded: boolean, gone: boolean, canRegenerate: boolean}} now whether the kernel is gone, among others */
  update(column, { expanded, gone, canRegenerate }) {
    this.regenerate.hidden = !canRegenerate;
    this.expand.textContent = expanded ? "Show all" : "Expand";
    this.expand.setAttribute("aria-expanded", String(expanded));
    if (this.column === column && this.gone === gone) return;
    this.column = column;
    this.gone = gone;
    const running = column.status === "running" && !gone;
    this.mark.textContent = column.mark;
    this.label.textContent = column.label + (column.preferred ? " ✓ preferred" : "");
    this.element.setAttribute("aria-label", `Answer ${column.mark}${column.label ? `, ${column.label}` : ""}`);
    this.element.classList.toggle("ipyllm-chosen", column.preferred);
    this.stop.hidden = !running;
    for (const [name, view] of Object.entries(this.parts)) view.update(column.parts[name] ?? { blocks: [], tail: "" });
    const text = column.parts.text;
    this.reasoning.hidden = !column.parts.reasoning || !column.label; // a blind vote is not on who reasons
    this.waiting.hidden = !running;
    this.waitingLine.update(column.waiting);
    this.tick();
    this.footer.textContent = gone && column.status === "running" ? "The kernel stopped before the end." : column.footer;
    this.copy.hidden = running || !text;
    this.note.textContent = column.note;
    this.note.hidden = !column.note;
    this.error.hidden = !column.error;
    this.error.textContent = column.error ?? "";
  }

  /** Whether something of the answer is shown, or why there is none. */
  get hasBegun() {
    return Boolean(this.column && (this.column.status !== "running" || Object.keys(this.column.parts).length));
  }

  /** Show the elapsed time; called once a second while the answer streams. */
  tick() {
    if (this.waiting.hidden || !this.column) return;
    const now = performance.now(), { text, reasoning } = this.column.parts;
    const line = text || reasoning ? "" : this.waitingLine.text(now);
    const activity = text ? "answering" : reasoning && this.column.label ? "thinking" : "waiting";
    const seconds = this.column.label ? ` · ${((now - this.startedAt) / 1000).toFixed(0)} s` : ""; // a blind vote is not on times
    this.waiting.textContent = line || `${activity}${seconds}`;
  }
}
