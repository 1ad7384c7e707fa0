// The rows of an explorer: only those within sight are in the page. The grid has the focus, one row is the active one.

import { h } from "../dom.js";
import { FLAGS } from "./table.js";

const WIDE_EM = 6.6; // height of a row; its lines are cut to fit
const NARROW_EM = 3.4; // of the prompt in a narrow view, where the arms stand below one another
const NARROW_ARM_EM = 2.9;
const MARGIN_ROWS = 6; // above and below what is in sight
const FILL_AFTER_MS = 60; // the rows in sight are painted before those of the margin are made
const SCORE = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
let grids = 0;

/** @param {number | null} score */
export function scoreText(score) {
  return score === null ? "–" : SCORE.format(score);
}

/** Badges for what is remarkable about a cell. @param {number} flags @param {string} status @param {boolean} [isShort] */
export function badges(flags, status, isShort = false) {
  /** @type {[boolean, string, string][]} */
  const all = [
    [status === "", "none", "not asked"],
    [status === "running", "none", "running"],
    [Boolean(flags & FLAGS.failed), "bad", "failed"],
    [Boolean(flags & FLAGS.cut), "warn", "cut off"],
    [Boolean(flags & FLAGS.regressed), "bad", isShort ? "▼" : "▼ regressed"],
    [Boolean(flags & FLAGS.unsure), "warn", isShort ? "unsure" : "judge unsure"],
  ];
  return all.filter(([shown]) => shown).map(([, kind, name]) => name === "▼" ? sign(name, "regressed", kind) : h("span", { class: `ipyllm-badge ${kind}` }, name));
}

/** A badge of one character, with a name. @param {string} char @param {string} name @param {string} kind */
function sign(char, name, kind) {
  return h("span", { class: `ipyllm-badge ${kind}`, role: "img", "aria-label": name, title: name }, char);
}

/** The scrolling grid. */
export class Rows {
  /**
   * @param {import("./table.js").Table} table
   * @param {{activate: (row: number) => void, open: (row: number) => void, sort: (key: string) => void, mark: (row: number) => void, isMarked: (row: number) => boolean,
   *   judgement: (row: number) => {vote: string, note: string} | undefined}} actions
   */
  constructor(table, actions) {
    this.table = table;
    this.actions = actions;
    /** @type {Uint32Array} */
    this.shown = new Uint32Array();
    this.at = 0; // place of the active row among those that are shown
    this.id = `ipyllm-rows-${++grids}-${Math.random().toString(36).slice(2, 8)}`;
    this.narrow = false;
    this.height = 0; // of a row, in pixels; 0: not measured
    this.filling = 0;
    this.headed = ""; // what the header shows
    /** @type {Map<number, any>} */
    this.elements = new Map(); // by place
    const { arms } = table.data;
    this.header = h("div", { role: "row", class: "ipyllm-xrow ipyllm-xhead", "aria-rowindex": 1 });
    this.space = h("div", { role: "rowgroup", class: "ipyllm-xspace" });
    this.element = h("div", { class: "ipyllm-xgrid", role: "grid", tabindex: 0, "aria-label": "Answers", "aria-colcount": arms.length + 1, scroll: () => this.draw(), click: (/** @type {MouseEvent} */ event) => this.onClick(event) },
      h("div", { role: "rowgroup", class: "ipyllm-xheads" }, this.header), this.space);
    this.element.style.setProperty("--arms", String(arms.length));
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
  }

  get rowHeight() {
    if (!this.height) {
      const em = parseFloat(getComputedStyle(this.element).fontSize) || 14;
      this.height = Math.round(em * (this.narrow ? NARROW_EM + NARROW_ARM_EM * this.table.data.cells.length : WIDE_EM));
    }
    return this.height;
  }

  resize() {
    const narrow = this.element.clientWidth < 620, before = this.height;
    this.height = 0;
    if (narrow !== this.narrow || (before && before !== this.rowHeight)) {
      this.height = 0;
      this.narrow = narrow;
      this.element.classList.toggle("narrow", narrow);
      this.redraw();
    } else this.draw();
  }

  /** The active row, or -1. */
  get active() {
    return this.shown.length ? this.shown[this.at] : -1;
  }

  /** Show these rows, and keep the active one if it is among them. @param {Uint32Array} shown */
  show(shown) {
    const before = this.active;
    this.shown = shown;
    this.at = Math.max(0, shown.indexOf(before));
    this.element.setAttribute("aria-rowcount", String(shown.length + 1));
    this.clear();
    this.reveal(0);
    clearTimeout(this.filling);
    this.element.setAttribute("aria-busy", "true");
    this.filling = setTimeout(() => {
      this.draw();
      this.element.removeAttribute("aria-busy");
    }, FILL_AFTER_MS);
  }

  /** Show more rows below those that are shown, which are drawn anew and stay where they are. @param {Uint32Array} shown */
  extend(shown) {
    this.shown = shown;
    this.element.setAttribute("aria-rowcount", String(shown.length + 1));
    this.redraw();
  }

  /** Show the names of the arms, with what the table is sorted by. @param {string} sort @param {boolean} descending @param {[number, number]} pair */
  drawHeader(sort, descending, pair) {
    const headed = `${sort} ${descending} ${pair}`;
    if (headed === this.headed) return;
    this.headed = headed;
    const { arms, scorers } = this.table.data;
    /** @param {string} key @param {boolean} sorted @param {Node[]} children */
    const head = (key, sorted, ...children) => h("div", { role: "columnheader", ...(sorted ? { "aria-sort": descending ? "descending" : "ascending" } : {}) },
      h("button", { type: "button", class: "ipyllm-xsort", "data-sort": key }, ...children, ...(sorted ? [h("span", { "aria-hidden": "true" }, descending ? " ▼" : " ▲")] : [])));
    this.header.replaceChildren(
      head("order", sort === "order", new Text("Prompt")),
      ...arms.map((name, arm) => head(scorers.length ? `score:${arm}:0` : `text:${arm}`, sort.startsWith(`score:${arm}:`) || sort === `text:${arm}`,
        ...(arms.length > 1 && pair.includes(arm) ? [h("span", { class: "ipyllm-xpair", title: arm === pair[0] ? "compared with the arm at the right of “Compare”" : "" }, pair[0] === arm ? "A" : "B")] : []), h("bdi", {}, name), ...(arm === 0 && arms.length > 1 ? [h("small", {}, " baseline")] : []))),
    );
  }

  /** Move the active row by some places. @param {number} by */
  move(by) {
    this.go(this.at + by);
  }

  /** Make the row at a place the active one. @param {number} place */
  go(place) {
    if (!this.shown.length) return;
    this.at = Math.min(this.shown.length - 1, Math.max(0, place));
    this.reveal();
    this.actions.activate(this.active);
  }

  get pageRows() {
    return Math.max(1, Math.floor((this.element.clientHeight - this.header.offsetHeight) / this.rowHeight));
  }

  /** Scroll until the active row is in sight, and draw, with some rows above and below. @param {number} [margin] */
  reveal(margin = MARGIN_ROWS) {
    this.space.style.height = `${this.shown.length * this.rowHeight}px`;
    const height = this.rowHeight, top = this.at * height, sight = this.element.clientHeight - this.header.offsetHeight;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (sight > 0 && top + height > this.element.scrollTop + sight) this.element.scrollTop = top + height - sight;
    this.draw(margin);
  }

  clear() {
    for (const element of this.elements.values()) element.remove();
    this.elements.clear();
  }

  redraw() {
    this.clear();
    this.draw();
  }

  /** Draw anew the rows whose judgement or mark has changed. @param {number[]} rows */
  update(rows) {
    for (const [place, element] of this.elements) {
      if (!rows.includes(this.shown[place])) continue;
      element.remove();
      this.elements.delete(place);
    }
    this.draw();
  }

  /** @param {number} [margin] rows above and below those in sight */
  draw(margin = MARGIN_ROWS) {
    const height = this.rowHeight;
    this.space.style.height = `${this.shown.length * height}px`;
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - margin);
    const last = Math.min(this.shown.length, Math.ceil((this.element.scrollTop + (this.element.clientHeight || 600)) / height) + margin);
    for (const [place, element] of this.elements) {
      if ((place >= first && place < last) || place === this.at) continue;
      element.remove();
      this.elements.delete(place);
    }
    for (let place = first; place < last; place++) this.ensure(place, height);
    if (this.shown.length) {
      this.ensure(this.at, height);
      this.element.setAttribute("aria-activedescendant", `${this.id}-${this.at}`);
    } else this.element.removeAttribute("aria-activedescendant");
    for (const [place, element] of this.elements) {
      element.classList.toggle("active", place === this.at);
      element.setAttribute("aria-selected", String(place === this.at));
    }
  }

  /** @param {number} place @param {number} height */
  ensure(place, height) {
    if (this.elements.has(place)) return;
    const element = this.build(place);
    element.style.height = `${height}px`;
    element.style.transform = `translateY(${place * height}px)`;
    this.elements.set(place, element);
    this.space.append(element);
  }

  /** @param {number} place */
  build(place) {
    const row = this.shown[place], { data } = this.table;
    const judgement = this.actions.judgement(row), marked = this.actions.isMarked(row);
    const inputs = data.columns.filter(({ values }) => values[row] !== null).slice(0, 3).map(({ name, values }) => h("span", { class: "ipyllm-xinput" }, `${name}: `, h("bdi", {}, String(values[row]))));
    return h("div", { role: "row", class: `ipyllm-xrow${marked ? " marked" : ""}`, id: `${this.id}-${place}`, "aria-rowindex": place + 2, "data-place": place },
      h("div", { role: "gridcell", class: "ipyllm-xprompt" },
        h("div", { class: "ipyllm-xline" },
          h("span", { class: "ipyllm-xmark", "data-mark": "", title: "Mark (x)" }, marked ? "☑ marked" : "☐"),
          h("span", {}, `${row + 1}${data.repeats ? ` · repeat ${data.repeats[row] + 1}` : ""}`),
          ...(judgement?.vote === "tie" ? [h("span", { class: "ipyllm-badge good" }, "tie")] : []),
          ...(judgement?.vote === "both_bad" ? [h("span", { class: "ipyllm-badge bad" }, data.cells.length > 2 ? "all bad" : "both bad")] : []),
          ...(judgement?.note ? [h("span", { class: "ipyllm-badge none", title: judgement.note }, "✎ note")] : []),
          ...inputs),
        h("div", { class: "ipyllm-xtext", dir: "auto" }, data.prompts[row])),
      ...data.cells.map((arm, index) => h("div", { role: "gridcell" },
        h("div", { class: "ipyllm-xline" },
          ...(this.narrow ? [h("b", {}, h("bdi", {}, data.arms[index]))] : []),
          ...data.scorers.map((scorer, nth) => h("span", { class: "ipyllm-xscore" }, data.scorers.length > 1 ? `${scorer.name} ` : "", h("b", {}, scoreText(arm.scores[nth][row])))),
          ...(judgement?.vote === String(index) ? [sign("✓", "preferred", "good")] : []),
          ...badges(arm.flags[row], arm.statuses[row], true)),
        h("div", { class: "ipyllm-xtext", dir: "auto" }, arm.texts[row]))));
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const sort = target.closest("[data-sort]");
    if (sort instanceof HTMLElement) return void this.actions.sort(sort.dataset.sort ?? "order");
    const row = target.closest("[data-place]");
    if (!(row instanceof HTMLElement)) return;
    this.at = Number(row.dataset.place);
    this.draw();
    if (target.closest("[data-mark]")) this.actions.mark(this.active);
    else this.actions.open(this.active);
  }

  close() {
    clearTimeout(this.filling);
    this.observer.disconnect();
  }
}
