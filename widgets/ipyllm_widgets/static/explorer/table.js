// The table of an explorer: filters and sorts what Python packed. No DOM: `tests/explorer` runs it in Node.

/**
 * @typedef {{texts: string[], statuses: string[], flags: number[], scores: (number | null)[][]}} Arm
 * @typedef {{name: string, arms: string[], scorers: {name: string, direction: boolean | null}[], comparedBy: string,
 *   hasJudge: boolean, leftOut: number, expected?: number, ids: string[], repeats: number[] | null, prompts: string[],
 *   columns: {name: string, values: (string | number | null)[]}[], differs: number[], cells: Arm[]}} TableData
 *   `expected` is the number of rows to come, if these are only the first ones
 * @typedef {{filters: Set<string>, found: Uint32Array | null, sort: string, descending: boolean, pair: [number, number]}} Query
 */

/** Flags of a cell, as in Python's `Flag`. */
export const FLAGS = { failed: 1, cut: 2, unsure: 4, regressed: 8 };

/** The filters, in the order of their buttons: key, label, and what a row must have. */
export const FILTERS = [
  { key: "differs", label: "arms differ", title: "Arms differ by their " },
  { key: "regressed", label: "▼ regressed", title: "A score is worse than the baseline's (the first arm's)" },
  { key: "failed", label: "failed", title: "A call ended without a complete answer" },
  { key: "cut", label: "cut off", title: "An answer ended at max_tokens" },
  { key: "unsure", label: "judge unsure", title: "A judge gave no verdict, or a grade in the middle of its scale" },
];

const COLLATOR = new Intl.Collator(undefined, { numeric: true });

/** Rows and columns, with what filters and sorting need. */
export class Table {
  /** @param {TableData} data */
  constructor(data) {
    this.data = data;
    this.length = 0;
    this.flags = new Uint8Array(); // of any arm, by row
    this.take(data);
  }

  /** Take these rows in place of those before. @param {TableData} data */
  take(data) {
    this.data = data;
    this.length = data.ids.length;
    this.flags = new Uint8Array(this.length);
    for (const arm of data.cells) for (let row = 0; row < this.length; row++) this.flags[row] |= arm.flags[row];
  }

  /** @param {string} key of a filter @param {number} row */
  passes(key, row) {
    if (key === "differs") return this.data.differs[row] === 1;
    return (this.flags[row] & FLAGS[/** @type {keyof typeof FLAGS} */ (key)]) !== 0;
  }

  /** Whether all rows are here, which filters and order need. */
  get isWhole() {
    return !this.data.expected;
  }

  /** Number of rows that pass each filter by itself; null while rows are missing. @returns {Record<string, number> | null} */
  counts() {
    if (!this.isWhole) return null;
    return Object.fromEntries(FILTERS.map(({ key }) => {
      let n = 0;
      for (let row = 0; row < this.length; row++) if (this.passes(key, row)) n++;
      return [key, n];
    }));
  }

  /** What the table can be sorted by: key and label. @param {[number, number]} pair @returns {[string, string][]} */
  sorts([left, right]) {
    const { arms, scorers, columns } = this.data;
    /** @type {[string, string][]} */
    const sorts = [["order", "order of the input"]];
    for (const [nth, scorer] of scorers.entries()) if (arms.length > 1) sorts.push([`difference:${nth}`, `difference in ${scorer.name}: ${arms[right]} − ${arms[left]}`]);
    for (const [arm, name] of arms.entries()) {
      for (const [nth, scorer] of scorers.entries()) sorts.push([`score:${arm}:${nth}`, `${scorer.name} of ${name}`]);
    }
    sorts.push(["prompt", "prompt"], ["id", "prompt_id"]);
    for (const [nth, column] of columns.entries()) sorts.push([`column:${nth}`, column.name]);
    for (const [arm, name] of arms.entries()) sorts.push([`text:${arm}`, `answer of ${name}`]);
    return sorts;
  }

  /** Values to sort by; null for "the order of the input". @param {string} sort @param {[number, number]} pair @returns {((row: number) => string | number | null) | null} */
  values(sort, [left, right]) {
    const [kind, first, second] = sort.split(":");
    const { cells, columns, ids, prompts } = this.data;
    if (kind === "prompt") return (row) => prompts[row];
    if (kind === "id") return (row) => ids[row];
    if (kind === "column" && columns[Number(first)]) return (row) => columns[Number(first)].values[row];
    if (kind === "text" && cells[Number(first)]) return (row) => cells[Number(first)].texts[row] || null;
    if (kind === "score" && cells[Number(first)]) return (row) => cells[Number(first)].scores[Number(second)][row];
    if (kind === "difference") return (row) => this.difference(Number(first), row, [left, right]);
    return null;
  }

  /** Score of the second arm of a pair less that of the first; null without both. @param {number} scorer @param {number} row @param {[number, number]} pair */
  difference(scorer, row, [left, right]) {
    const before = this.data.cells[left].scores[scorer][row];
    const after = this.data.cells[right].scores[scorer][row];
    return before === null || after === null ? null : after - before;
  }

  /** The rows to show, in their order: as they are while some are missing. Rows without a value come last, whatever the direction. @param {Query} query @returns {Uint32Array} */
  select({ filters, found, sort, descending, pair }) {
    if (!this.isWhole) return Uint32Array.from({ length: this.length }, (_, row) => row);
    const keys = [...filters];
    const passing = [];
    const candidates = found ?? Array.from({ length: this.length }, (_, row) => row);
    for (const row of candidates) if (keys.every((key) => this.passes(key, row))) passing.push(row);
    const valueOf = this.values(sort, pair);
    if (!valueOf) return Uint32Array.from(descending ? passing.reverse() : passing);
    const sign = descending ? -1 : 1;
    const values = new Map(passing.map((row) => [row, valueOf(row)]));
    passing.sort((a, b) => {
      const one = values.get(a) ?? null, other = values.get(b) ?? null;
      if (one === null || other === null) return Number(one === null) - Number(other === null) || a - b;
      if (typeof one === "number" && typeof other === "number") return sign * (one - other) || a - b;
      return sign * COLLATOR.compare(String(one), String(other)) || a - b;
    });
    return Uint32Array.from(passing);
  }
}
