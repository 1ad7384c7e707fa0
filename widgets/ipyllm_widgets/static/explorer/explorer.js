// The explorer's widget: the view over a kernel.

import { Commands } from "../commands.js";
import { isolateKeys } from "../dom.js";
import { ExplorerView } from "./explorer_view.js";
import { unpack } from "../unpack.js";

/** What a view asks of the kernel: full rows, searches; and what it tells it: the selection, votes, notes. */
class KernelSource {
  /** @param {import("../commands.js").Model} model @param {(message: string) => void} showError */
  constructor(model, showError) {
    this.model = model;
    this.showError = showError;
    /** @type {import("./table.js").TableData} */
    this.data = /** @type {any} */ (null);
    this.judgements = model.get("judgements");
    let isWaiting = false;
    this.commands = new Commands(model, (hint) => {
      if (hint || isWaiting) showError(hint); // the end of waiting removes the hint, not an error
      isWaiting = Boolean(hint);
    }, showError);
    /** @type {Map<number, any>} */
    this.details = new Map(); // rows that were opened
    /** @type {any} */
    this.lastFound = null;
  }

  /** @param {string} command @param {Record<string, unknown>} fields @param {ArrayBuffer[]} [buffers] */
  async ask(command, fields, buffers) {
    const error = await this.commands.send(command, fields, buffers);
    this.showError(error ?? "");
    return error;
  }

  /**
   * Ask for all rows, for a view that was shown otherwise than by its cell, which sends them unasked; or because
   * somebody wants them whom an interrupt, or an error, has left with the first ones.
   * @param {boolean} [again]
   */
  readRest(again = true) {
    try {
      this.commands.tell("read", { again });
    } catch {
      this.showError("The other rows were not read, and there is no kernel: run the cell again.");
    }
  }

  /** @param {number} row */
  async row(row) {
    if (!this.details.has(row)) await this.ask("row", { row });
    return this.details.get(row) ?? null; // the row precedes its acknowledgement
  }

  /** @param {string} text */
  async search(text) {
    const error = await this.ask("search", { text });
    return error ? null : /** @type {Uint32Array} */ (this.lastFound);
  }

  /** @param {Uint32Array} rows */
  select(rows) {
    this.ask("select", {}, [/** @type {ArrayBuffer} */ (rows.slice().buffer)]);
  }

  /** @param {number} row @param {string} outcome */
  vote(row, outcome) {
    this.ask("vote", { row, outcome });
  }

  /** @param {number} row @param {string} text */
  note(row, text) {
    this.ask("note", { row, text });
  }
}

/** @param {{ model: import("../commands.js").Model, el: HTMLElement }} context */
async function render({ model, el }) {
  /** @type {ExplorerView | null} */
  let view = null;
  let isClosed = false, loads = 0;
  const source = new KernelSource(model, (message) => view?.showError(message));
  const load = async () => {
    const nth = ++loads, data = await unpack(model.get("table"));
    if (isClosed || nth !== loads) return;
    const isRest = source.data?.expected && !data.expected;
    source.data = data;
    source.judgements = model.get("judgements");
    if (view && isRest) return void view.complete();
    source.details.clear();
    view?.close();
    view = new ExplorerView(el, source);
    if (data.expected) source.readRest(false);
  };
  /** @param {any} message @param {DataView[]} buffers */
  const onMessage = (message, buffers) => {
    if (message.kind === "row") source.details.set(message.row, message.details);
    else if (message.kind === "found") source.lastFound = new Uint32Array(buffers[0].buffer.slice(buffers[0].byteOffset, buffers[0].byteOffset + buffers[0].byteLength));
    else if (message.kind === "judged") {
      Object.assign(source.judgements, message.rows);
      view?.judge(message.rows);
    } else if (message.kind === "unread") view?.showUnread(message.reason);
    else if (message.kind === "ack") source.commands.acknowledge(message);
  };
  model.on("msg:custom", onMessage);
  model.on("change:table", load);
  const releaseKeys = isolateKeys(el);
  await load();
  return () => {
    isClosed = true;
    releaseKeys();
    model.off("msg:custom", onMessage);
    model.off("change:table", load);
    source.commands.close();
    view?.close();
  };
}

export default { render };
