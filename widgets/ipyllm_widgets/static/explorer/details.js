// One row of an explorer in full: the prompt, every arm's answer with scores and reasons, a word diff, the vote and the note.

import { button, h } from "../dom.js";
import { badges, scoreText } from "./rows.js";
import { wordDiff } from "./word_diff.js";

/**
 * @typedef {{prompt: string, columns: [string, string][], cells: ({text: string, error: string, prompt: string,
 *   scores: {name: string, score: number | null, reason: string}[], facts: string, callId: string} | null)[]}} RowDetails
 * @typedef {{close: () => void, step: (by: number) => void, vote: ((outcome: string) => void) | null, note: ((text: string) => void) | null}} DetailActions
 */

/** The panel below the rows. */
export class Details {
  /** @param {import("./table.js").Table} table @param {DetailActions} actions */
  constructor(table, actions) {
    this.table = table;
    this.actions = actions;
    this.row = -1;
    this.diff = false;
    /** @type {RowDetails | null} */
    this.details = null;
    this.element = h("section", { class: "ipyllm-xdetails", "aria-label": "One row in full", hidden: true });
    /** @type {HTMLTextAreaElement | null} */
    this.noteBox = null;
    /** @type {HTMLElement | null} */
    this.noteLine = null;
  }

  get isOpen() {
    return !this.element.hidden;
  }

  hide() {
    this.element.hidden = true;
    this.element.replaceChildren();
    this.row = -1;
    this.noteBox = null;
  }

  /** @param {number} row @param {RowDetails} details @param {[number, number]} pair @param {{vote: string, note: string} | undefined} judgement */
  show(row, details, pair, judgement) {
    const isSame = row === this.row;
    const draft = isSame && this.noteBox === document.activeElement ? this.noteBox : null; // what somebody writes is not replaced
    this.row = row;
    this.details = details;
    this.element.hidden = false;
    const { data } = this.table;
    const place = `Row ${row + 1}${data.repeats ? `, repeat ${data.repeats[row] + 1}` : ""}`;
    const title = h("h3", {}, place, " ", h("small", {}, "prompt_id ", h("bdi", {}, data.ids[row])));
    const head = h("header", {}, title,
      button("left", "Previous row (k)", () => this.actions.step(-1)), button("right", "Next row (j)", () => this.actions.step(1)),
      button("close", "Close (Esc)", () => this.actions.close()));
    const vote = this.voteLine(row, judgement?.vote ?? "");
    const note = draft ? this.noteLine : this.makeNote(row, judgement?.note ?? "");
    this.noteLine = note;
    const parts = [
      head,
      scrollable("Prompt", details.prompt, "ipyllm-xfull prompt"),
      ...(details.columns.length ? [h("dl", {}, ...details.columns.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { dir: "auto" }, value))))] : []),
      h("div", { class: "ipyllm-xanswers" }, ...details.cells.map((cell, arm) => this.answer(cell, arm, row, pair))),
      ...(vote ? [vote] : []),
      ...(note ? [note] : []),
    ];
    if (draft) { // taken out of the page, it would lose the focus
      for (const child of [...this.element.children]) if (child !== note) child.remove();
      for (const part of parts) if (part !== note) note?.before(part);
    } else {
      const focused = this.focused();
      this.element.replaceChildren(...parts);
      focused?.().focus({ preventScroll: true });
    }
  }

  /** What finds the element with the focus again once the panel is drawn anew; null if the focus is elsewhere. @returns {(() => HTMLElement) | null} */
  focused() {
    const active = /** @type {HTMLElement | null} */ (document.activeElement);
    if (!active || !this.element.contains(active)) return null;
    const label = active.getAttribute("aria-label"), vote = active.dataset.vote;
    /** @param {HTMLElement} each */
    const isSame = (each) => (vote ? each.dataset.vote === vote : label !== null && each.getAttribute("aria-label") === label);
    return () => [...this.element.querySelectorAll("button,[tabindex]")].find((each) => isSame(/** @type {HTMLElement} */ (each))) ?? this.element.querySelector("[data-vote]") ?? this.element.querySelector("button");
  }

  /** @param {RowDetails["cells"][number]} cell @param {number} arm @param {number} row @param {[number, number]} pair */
  answer(cell, arm, row, pair) {
    const { data } = this.table;
    const { flags, statuses } = data.cells[arm];
    const other = this.details?.cells[pair[0]];
    const isDiffed = this.diff && arm === pair[1] && pair[0] !== pair[1] && cell && other;
    return h("article", { "aria-label": data.arms[arm] },
      h("h4", {}, h("bdi", {}, data.arms[arm]), arm === 0 && data.arms.length > 1 ? h("small", {}, " baseline") : "", " ", ...badges(flags[row], statuses[row])),
      ...(cell ? [
        ...(cell.prompt ? [scrollable(`Prompt of ${data.arms[arm]}`, cell.prompt, "ipyllm-xfull prompt")] : []),
        ...(cell.scores.length ? [h("ul", {}, ...cell.scores.map(({ name, score, reason }) => h("li", {}, `${name} `, h("b", {}, scoreText(score)), reason ? h("span", { dir: "auto" }, ` ${reason}`) : "")))] : []),
        ...(cell.error ? [h("p", { class: "ipyllm-xerror", dir: "auto" }, cell.error)] : []),
        ...(isDiffed ? [h("p", { class: "ipyllm-xlegend" }, "Compared with ", h("bdi", {}, data.arms[pair[0]]), ": ", h("del", {}, "only there"), " ", h("ins", {}, "only here"))] : []),
        isDiffed ? diffed(`Answer of ${data.arms[arm]}, compared`, other.text, cell.text) : scrollable(`Answer of ${data.arms[arm]}`, cell.text, "ipyllm-xfull"),
        ...(cell.facts ? [h("p", { class: "ipyllm-xfacts" }, cell.facts)] : []),
      ] : [h("p", { class: "ipyllm-xfacts" }, "This arm was not asked.")]));
  }

  /** @param {number} row @param {string} vote */
  voteLine(row, vote) {
    const { arms, cells } = this.table.data;
    const complete = arms.map((_, arm) => arm).filter((arm) => cells[arm].statuses[row] === "ok");
    const { vote: cast } = this.actions;
    if (arms.length < 2) return null;
    /** @param {string} outcome @param {string} name @param {string} key */
    const choice = (outcome, name, key) => h("button", { type: "button", class: `ipyllm-button${outcome === vote ? " ipyllm-primary" : ""}`, "data-vote": outcome, ...(outcome === "none" ? {} : { "aria-pressed": String(outcome === vote) }), click: () => cast?.(outcome) }, h("bdi", {}, name), ...(key ? [" ", h("kbd", {}, key)] : []));
    const withdraw = vote ? [choice("none", "No vote", "0")] : [];
    /** @type {[string, string, string][]} */
    const choices = [...complete.map((arm) => /** @type {[string, string, string]} */ ([String(arm), arms[arm], arm < 9 ? String(arm + 1) : ""])), ["tie", "Tie", "t"], ["both_bad", arms.length > 2 ? "All bad" : "Both bad", "b"]];
    if (!cast) {
      const chosen = choices.find(([outcome]) => outcome === vote);
      return chosen ? h("p", { class: "ipyllm-xvote" }, "Vote: ", h("bdi", {}, chosen[1])) : null;
    }
    if (complete.length < 2) return h("p", { class: "ipyllm-xvote" }, "A vote needs two complete answers.", ...withdraw);
    return h("div", { class: "ipyllm-xvote", role: "group", "aria-label": "Which answer is better?" }, h("span", {}, "Better:"),
      ...choices.map((each) => choice(...each)), ...withdraw);
  }

  /** @param {number} row @param {string} note */
  makeNote(row, note) {
    const { note: write } = this.actions;
    this.noteBox = null;
    if (!write) return note ? h("p", { class: "ipyllm-xnote", dir: "auto" }, `Note: ${note}`) : null;
    let saved = note;
    const save = () => {
      if (box.value === saved) return;
      saved = box.value;
      write(saved);
    };
    const box = h("textarea", { class: "ipyllm-input", rows: 2, dir: "auto", maxlength: 10000, change: save, keydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      save();
      event.preventDefault();
    } });
    box.value = note;
    this.noteBox = box;
    return h("label", { class: "ipyllm-xnote" }, h("span", {}, "Note on this prompt ", h("kbd", {}, "n"), h("small", {}, " stored in the ledger when you leave the box, or by Ctrl+Enter")), box);
  }
}

/** @param {string} label @param {string} text @param {string} kind */
function scrollable(label, text, kind) {
  return h("div", { class: kind, dir: "auto", tabindex: 0, role: "region", "aria-label": label }, text || "(empty)");
}

/** @param {string} label @param {string} before @param {string} after */
function diffed(label, before, after) {
  const tags = { same: "span", removed: "del", added: "ins" };
  return h("div", { class: "ipyllm-xfull", dir: "auto", tabindex: 0, role: "region", "aria-label": label }, ...wordDiff(before, after).map(({ kind, text }) => h(tags[kind], {}, text)));
}
