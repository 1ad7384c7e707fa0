// The explorer on a page without a kernel: the view over what the page itself contains.

import { h } from "../dom.js";
import { ExplorerView } from "./explorer_view.js";
import { unpack } from "../unpack.js";

/** @param {HTMLElement} root with the packed data in a child */
async function showPage(root) {
  const holder = root.querySelector(".ipyllm-xdata");
  const bytes = Uint8Array.from(atob((holder?.textContent ?? "").trim()), (char) => char.charCodeAt(0));
  const { table, details, judgements } = await unpack(bytes);
  /** @type {string[] | null} */
  let texts = null;
  const searchable = () => (texts ??= details.map((/** @type {any} */ row, /** @type {number} */ index) => [
    table.ids[index], row.prompt, ...row.columns.map((/** @type {string[]} */ [, value]) => value),
    ...row.cells.flatMap((/** @type {any} */ cell) => cell ? [cell.text, cell.error, cell.prompt, ...cell.scores.map((/** @type {any} */ { reason }) => reason)] : []),
  ].join("\n").toLowerCase()));
  const view = h("div");
  root.append(view);
  new ExplorerView(view, {
    data: table,
    judgements,
    row: async (row) => details[row],
    search: async (text) => {
      const words = text.toLowerCase().split(/\s+/);
      return Uint32Array.from([...searchable().keys()].filter((row) => words.every((word) => searchable()[row].includes(word))));
    },
    select: null,
    vote: null,
    note: null,
  });
}

for (const root of document.querySelectorAll(".ipyllm-xpage:not([data-shown])")) {
  if (!(root instanceof HTMLElement)) continue;
  root.dataset.shown = "";
  showPage(root);
}
