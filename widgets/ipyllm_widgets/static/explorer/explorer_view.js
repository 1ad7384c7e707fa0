// The explorer's view: search, filters, order, the rows, and one row in full. The widget and the page without a kernel
// show it, over a source that has the table, full rows and the search.

import { h } from "../dom.js";
import { Details } from "./details.js";
import { Rows } from "./rows.js";
import { FILTERS, Table } from "./table.js";

/**
 * @typedef {{vote: string, note: string}} Judgement
 * @typedef {{
 *   data: import("./table.js").TableData, judgements: Record<string, Judgement>,
 *   row: (row: number) => Promise<import("./details.js").RowDetails | null>,
 *   search: (text: string) => Promise<Uint32Array | null>,
 *   select: ((rows: Uint32Array, marked: boolean) => void) | null,
 *   vote: ((row: number, outcome: string) => void) | null,
 *   note: ((row: number, text: string) => void) | null,
 *   readRest?: () => void,
 * }} Source
 */

const SEARCH_AFTER_MS = 120;
const SELECT_AFTER_MS = 200;
/** @type {[string, string][]} */
const KEYS = [
  ["↓ ↑ or j k", "next, previous row"], ["PgDn PgUp Home End", "a page, first, last"], ["Enter", "open the row, or close it"], ["Esc", "close; leave a box"],
  ["/", "search"], ["x", "mark the row for the selection"], ["← →", "choose the arm to compare (B)"], ["d", "word diff of A and B"],
  ["1 … 9", "this arm's answer is better"], ["t b", "tie, both bad"], ["0", "withdraw the vote"], ["n", "write a note"], ["?", "this list"],
];

/** One view of an explorer. */
export class ExplorerView {
  /** @param {HTMLElement} root @param {Source} source */
  constructor(root, source) {
    this.source = source;
    const { data } = source;
    this.table = new Table(data);
    /** @type {Map<number, Judgement>} */
    this.judgements = new Map(Object.entries(source.judgements).map(([row, judgement]) => [Number(row), judgement]));
    this.filters = new Set();
    /** @type {Uint32Array | null} */
    this.found = null;
    this.sort = "order";
    this.descending = false;
    /** @type {[number, number]} */
    this.pair = [0, Math.min(1, data.arms.length - 1)];
    this.marked = new Set();
    this.searchTimer = 0;
    this.selectTimer = 0;
    this.searches = 0;
    this.rows = new Rows(this.table, {
      activate: () => this.details.isOpen && this.open(),
      open: () => this.open(),
      sort: (key) => this.sortBy(key),
      mark: () => this.mark(),
      isMarked: (row) => this.marked.has(row),
      judgement: (row) => this.judgements.get(row),
    });
    this.details = new Details(this.table, {
      close: () => this.closeDetails(),
      step: (by) => this.rows.move(by),
      vote: source.vote && ((outcome) => this.vote(outcome)),
      note: source.note && ((text) => source.note?.(this.details.row, text)),
    });
    /** @type {HTMLElement[]} */
    this.chips = [];
    /** @type {HTMLSelectElement[]} */
    this.pairSelects = [];
    this.section = this.build();
    root.replaceChildren(this.section);
    this.drawSorts();
    this.refresh();
  }

  build() {
    const { data } = this.source;
    this.search = h("input", { type: "search", class: "ipyllm-input", placeholder: "Search prompts, answers, reasons ( / )", "aria-label": "Search", input: () => {
      clearTimeout(this.searchTimer);
      this.searchTimer = setTimeout(() => this.runSearch(), SEARCH_AFTER_MS);
    } });
    this.chips = FILTERS.filter(({ key }) => (key !== "unsure" || data.hasJudge) && (key !== "regressed" || data.scorers.length) && (data.arms.length > 1 || !["differs", "regressed"].includes(key)))
      .map(({ key, label, title }) => h("button", { type: "button", class: "ipyllm-button ipyllm-chip", "aria-pressed": "false", "data-filter": key, title: key === "differs" ? title + data.comparedBy : title, click: () => this.toggle(key) },
        label, " ", h("span", { class: "ipyllm-count" })));
    this.drawCounts();
    this.sortSelect = h("select", { class: "ipyllm-input", "aria-label": "Sort by", change: () => this.sortBy(this.sortSelect.value, false) });
    this.direction = h("button", { type: "button", class: "ipyllm-button", "aria-label": "Reverse the order", title: "Reverse the order", click: () => this.sortBy(this.sort, !this.descending) }, "▲");
    const [left, right] = [0, 1].map((side) => h("select", { class: "ipyllm-input", "aria-label": side ? "Arm B" : "Arm A", change: (/** @type {Event} */ event) => this.compare(side, Number(/** @type {HTMLSelectElement} */ (event.target).value)) },
      ...data.arms.map((name, arm) => h("option", { value: arm }, name))));
    this.pairSelects = [left, right];
    this.diffButton = h("button", { type: "button", class: "ipyllm-button", "aria-pressed": "false", title: "Word diff of A and B (d)", click: () => this.toggleDiff() }, "Word diff");
    this.keys = h("dl", { class: "ipyllm-xkeys", hidden: true, "aria-label": "Keys" }, ...KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what))));
    this.keysButton = h("button", { type: "button", class: "ipyllm-button", "aria-expanded": "false", click: () => this.toggleKeys() }, "Keys ", h("kbd", {}, "?"));
    this.status = h("p", { class: "ipyllm-xstatus", role: "status" });
    this.unread = ""; // why rows are missing, if they do not come
    this.notice = h("p", { class: "ipyllm-notice", role: "alert", hidden: true });
    this.nothing = h("p", { class: "ipyllm-xnothing", hidden: true }, "No row passes these filters.");
    return h("section", { class: "ipyllm-widget ipyllm-explorer", "aria-label": `Answers of ${data.name}`, keydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event) },
      h("div", { class: "ipyllm-xbar" },
        this.search,
        ...(this.chips.length ? [h("div", { role: "group", class: "ipyllm-chips", "aria-label": "Filters" }, ...this.chips)] : []),
        h("div", { class: "ipyllm-xorder" },
          h("label", {}, "Sort ", this.sortSelect), this.direction,
          ...(data.arms.length > 1 ? [h("span", { class: "ipyllm-xcompare", role: "group", "aria-label": "Compare" }, "Compare ", h("span", { class: "ipyllm-xpair" }, "A"), left, h("span", { class: "ipyllm-xpair" }, "B"), right), this.diffButton] : []),
          this.keysButton),
      ),
      this.keys, this.notice, this.status, this.rows.element, this.nothing, this.details.element);
  }

  /** @param {string} message the error, or "" */
  showError(message) {
    this.notice.hidden = !message;
    this.notice.replaceChildren(message);
  }

  // ---- which rows, in which order --------------------------------------------------------------------

  /** Show the number of rows of each filter, which takes all rows. */
  drawCounts() {
    const counts = this.table.counts();
    for (const chip of this.chips) {
      const count = /** @type {HTMLElement} */ (chip.querySelector(".ipyllm-count"));
      count.textContent = counts ? counts[chip.dataset.filter ?? ""].toLocaleString() : "…";
    }
  }

  /** Show all rows of the source, where there were only the first ones: filtered and sorted as was chosen meanwhile. */
  complete() {
    this.table.take(this.source.data);
    for (const [row, judgement] of Object.entries(this.source.judgements)) this.judgements.set(Number(row), judgement);
    if (this.unread) this.showError(this.unread = "");
    this.drawCounts();
    if (this.isQuery) return this.refresh();
    this.rows.extend(this.select());
    this.drawStatus();
    this.sendSelection();
  }

  /** Say why the rows that are missing do not come, and offer to read them. @param {string} reason */
  showUnread(reason) {
    this.unread = reason;
    this.showError(`The other rows were not read: ${reason} `);
    this.notice.append(h("button", { type: "button", class: "ipyllm-button", click: () => this.readRest() }, "Read them"));
    this.drawStatus();
  }

  /** Read the rows that are missing, if an earlier attempt has failed. */
  readRest() {
    const hadFocus = this.notice.contains(document.activeElement);
    if (this.unread) this.showError(this.unread = "");
    if (hadFocus) this.rows.element.focus();
    this.drawStatus();
    this.source.readRest?.();
  }

  /** Whether not simply all rows are shown, in the order of the input. */
  get isQuery() {
    return this.filters.size > 0 || this.found !== null || this.sort !== "order" || this.descending;
  }

  select() {
    return this.table.select({ filters: this.filters, found: this.found, sort: this.sort, descending: this.descending, pair: this.pair });
  }

  refresh() {
    const shown = this.select();
    this.rows.drawHeader(this.sort, this.descending, this.pair);
    this.rows.show(shown);
    this.nothing.hidden = shown.length > 0;
    this.drawStatus();
    if (this.details.isOpen) this.rows.active >= 0 ? this.open() : this.closeDetails();
    this.sendSelection();
  }

  drawStatus() {
    const { data } = this.source;
    const n = this.rows.shown.length, total = data.expected ?? this.table.length;
    const parts = [n === total ? `${total.toLocaleString()} rows` : `${data.expected ? "the first " : ""}${n.toLocaleString()} of ${total.toLocaleString()} rows`];
    if (data.expected) parts.push(this.unread ? "the others were not read, so that nothing is filtered or sorted" : `the others are being read${this.isQuery ? ", then filters and order apply" : " …"}`);
    if (this.marked.size) parts.push(`${this.marked.size.toLocaleString()} marked`);
    if (data.leftOut) parts.push(`${data.leftOut.toLocaleString()} further rows are left out here`);
    if (this.source.select && !data.expected) parts.push(`selection: the rows ${this.marked.size ? "marked" : "shown"}`);
    parts.push("a click or Enter opens a row");
    const text = parts.join(" · ");
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  /** @param {string} key */
  toggle(key) {
    this.filters.has(key) ? this.filters.delete(key) : this.filters.add(key);
    for (const chip of this.chips) chip.setAttribute("aria-pressed", String(this.filters.has(chip.dataset.filter ?? "")));
    this.applyQuery();
  }

  /** Filter and sort as is chosen now, which takes all rows. */
  applyQuery() {
    if (this.unread && this.isQuery) this.readRest();
    this.refresh();
  }

  async runSearch() {
    const text = this.search.value.trim(), nth = ++this.searches;
    const found = text ? await this.source.search(text) : null;
    if (nth !== this.searches || (text && !found)) return; // a later search, or an error, which is shown
    this.found = found;
    this.refresh();
  }

  /** Sort by a key; by the same again, the other way round. @param {string} key @param {boolean} [descending] */
  sortBy(key, descending) {
    this.descending = descending ?? (key === this.sort ? !this.descending : false);
    this.sort = key;
    this.drawSorts();
    this.applyQuery();
  }

  drawSorts() {
    this.sortSelect.replaceChildren(...this.table.sorts(this.pair).map(([key, label]) => h("option", { value: key }, label)));
    this.sortSelect.value = this.sort;
    this.direction.textContent = this.descending ? "▼" : "▲";
    this.pairSelects.forEach((select, side) => (select.value = String(this.pair[side])));
  }

  /** @param {number} side @param {number} arm */
  compare(side, arm) {
    this.pair[side] = arm;
    this.drawSorts();
    this.refresh();
  }

  /** Compare with the next arm. @param {number} by */
  nextArm(by) {
    const n = this.source.data.arms.length;
    if (n < 3) return;
    let arm = this.pair[1];
    do arm = (arm + by + n) % n;
    while (arm === this.pair[0]);
    this.compare(1, arm);
  }

  toggleDiff() {
    this.details.diff = !this.details.diff;
    this.diffButton.setAttribute("aria-pressed", String(this.details.diff));
    if (this.details.diff || this.details.isOpen) this.open();
  }

  toggleKeys() {
    this.keys.hidden = !this.keys.hidden;
    this.keysButton.setAttribute("aria-expanded", String(!this.keys.hidden));
  }

  // ---- one row ---------------------------------------------------------------------------------------

  async open() {
    const row = this.rows.active;
    if (row < 0) return;
    const details = await this.source.row(row);
    if (details && row === this.rows.active) this.details.show(row, details, this.pair, this.judgements.get(row));
  }

  closeDetails() {
    const hadFocus = this.details.element.contains(document.activeElement);
    this.details.hide();
    if (hadFocus) this.rows.element.focus();
  }

  mark() {
    const row = this.rows.active;
    if (row < 0) return;
    this.marked.has(row) ? this.marked.delete(row) : this.marked.add(row);
    this.rows.update([row]);
    this.drawStatus();
    this.sendSelection();
  }

  sendSelection() {
    if (!this.source.select || !this.table.isWhole) return;
    clearTimeout(this.selectTimer);
    this.selectTimer = setTimeout(() => {
      const hasMarks = this.marked.size > 0;
      const rows = hasMarks ? Uint32Array.from([...this.marked].sort((a, b) => a - b)) : this.rows.shown;
      this.source.select?.(rows, hasMarks);
    }, SELECT_AFTER_MS);
  }

  /** @param {string} outcome */
  vote(outcome) {
    const row = this.rows.active;
    if (row >= 0) this.source.vote?.(row, outcome);
  }

  /** Show what was voted or noted, here or in another view. @param {Record<string, Judgement>} judged */
  judge(judged) {
    const rows = Object.keys(judged).map(Number);
    for (const row of rows) this.judgements.set(row, judged[row]);
    this.rows.update(rows);
    if (this.details.isOpen && rows.includes(this.details.row)) this.open();
  }

  async writeNote() {
    if (!this.source.note) return;
    await this.open();
    this.details.noteBox?.focus();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (target.matches("input, textarea, select")) this.rows.element.focus();
      else if (this.details.isOpen) this.closeDetails();
      else return;
      return void event.preventDefault();
    }
    if (target.matches("input, textarea, select")) {
      if (target === this.search && (event.key === "ArrowDown" || event.key === "Enter")) {
        event.preventDefault();
        this.rows.element.focus();
      }
      return;
    }
    const isScrolled = target.matches(".ipyllm-xfull"); // its own keys scroll it
    if (target.matches("button") && ["Enter", " "].includes(event.key)) return;
    const { arms } = this.source.data;
    /** @type {Record<string, () => void>} */
    const keys = {
      j: () => this.rows.move(1), k: () => this.rows.move(-1), x: () => this.mark(), d: () => arms.length > 1 && this.toggleDiff(),
      "/": () => this.search.focus(), "?": () => this.toggleKeys(), n: () => this.writeNote(), t: () => this.vote("tie"), b: () => this.vote("both_bad"),
      0: () => this.vote("none"),
      Enter: () => this.details.isOpen ? this.closeDetails() : this.open(),
      ...(isScrolled ? {} : {
        ArrowDown: () => this.rows.move(1), ArrowUp: () => this.rows.move(-1), ArrowRight: () => this.nextArm(1), ArrowLeft: () => this.nextArm(-1),
        PageDown: () => this.rows.move(this.rows.pageRows), PageUp: () => this.rows.move(-this.rows.pageRows),
        Home: () => this.rows.go(0), End: () => this.rows.go(this.rows.shown.length - 1),
      }),
      ...Object.fromEntries(arms.slice(0, 9).map((_, arm) => [String(arm + 1), () => this.vote(String(arm))])),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  close() {
    clearTimeout(this.searchTimer);
    clearTimeout(this.selectTimer);
    this.rows.close();
    this.section.remove();
  }
}
