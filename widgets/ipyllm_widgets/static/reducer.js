// Computes a view's state from the kernel's messages. Pure, so that tests can replay messages. Messages are numbered; after a gap the state is `stale` until a snapshot arrives.

/**
 * @typedef {{name: string, chars: number}} AttachedFile
 * @typedef {{blocks: string[], tail: string}} Part
 * @typedef {{id: string, text: string, chars: number, images: string[], files: AttachedFile[], branch: [number, number], status: string,
 *   footer: string, note: string, resumable: boolean, feedback: string | null, error: string | null, waiting: import("./waiting.js").Waiting | null, parts: Record<string, Part>,
 *   tokens?: boolean}} Turn
 * @typedef {{model: string, models: string[], system: string, params: Record<string, unknown>, conversation: string,
 *   limits: {image: number, images: number}, efforts?: string[], elsewhere?: Record<string, string>, queue?: import("./queue.js").Queued[]}} ViewSettings
 * @typedef {{seq: number, stale: boolean, order: string[], turns: Map<string, Turn>, running: string | null,
 *   totals: string, settings: ViewSettings}} State
 */

/** @type {Part} */
const EMPTY_PART = { blocks: [], tail: "" };

const EMPTY_TURN = { text: "", chars: 0, images: [], files: [], branch: [1, 1], status: "", footer: "", note: "", resumable: false, feedback: null, error: null, waiting: null, parts: {} };

/** @type {State} */
export const EMPTY = {
  seq: -1,
  stale: true,
  order: [],
  turns: new Map(),
  running: null,
  totals: "",
  settings: { model: "", models: [], system: "", params: {}, conversation: "", limits: { image: 0, images: 0 } },
};

/**
 * @param {State} state
 * @param {any} message
 * @returns {State}
 */
export function reduce(state, message) {
  try {
    if (message.kind === "snapshot") return applySnapshot(state, message.state);
    if (message.kind !== "update" && message.kind !== "delta") return state;
    if (message.seq <= state.seq) return state; // already applied, possibly as part of a snapshot
    if (state.stale || message.seq !== state.seq + 1) return { ...state, stale: true };
    const next = message.kind === "update" ? applyUpdate(state, message) : applyDeltas(state, message.deltas);
    return { ...next, seq: message.seq };
  } catch {
    return { ...state, stale: true }; // malformed: a snapshot will repair it
  }
}

/**
 * @param {State} state
 * @param {any} snapshot
 * @returns {State}
 */
function applySnapshot(state, snapshot) {
  if (typeof snapshot?.seq !== "number" || (!state.stale && snapshot.seq < state.seq)) return state;
  const turns = new Map();
  for (const turn of snapshot.turns) turns.set(turn.id, checked({ ...EMPTY_TURN, ...turn }));
  return applyFields({ ...state, seq: snapshot.seq, stale: false, turns }, snapshot);
}

/**
 * @param {State} state
 * @param {any} update
 * @returns {State}
 */
function applyUpdate(state, update) {
  const turns = new Map(state.turns);
  for (const changes of update.turns ?? []) {
    const known = turns.get(changes.id);
    if (!known && changes.footer === undefined) throw new Error("an incomplete turn");
    turns.set(changes.id, checked({ ...EMPTY_TURN, ...known, ...changes }));
  }
  const next = applyFields({ ...state, turns }, update);
  if (update.order) {
    const shown = new Set(next.order);
    for (const id of turns.keys()) if (!shown.has(id)) turns.delete(id);
  }
  return next;
}

/** @type {Record<string, (value: any) => boolean>} checks of the fields that a view draws; not every widget has all */
const CHECKS = {
  id: isText, text: isText, chars: Number.isFinite, status: isText, footer: isText, note: isText,
  error: (value) => value === null || isText(value),
  feedback: (value) => value === null || isText(value),
  waiting: (value) => value === null || (isText(value.before) && isText(value.after) && [value.seconds, value.step].every(Number.isFinite)),
  images: (value) => value.every(isText),
  files: (value) => value.every((/** @type {any} */ { name, chars }) => isText(name) && Number.isFinite(chars)),
  branch: (value) => value.length === 2 && value.every(Number.isInteger),
  parts: (value) => isRecord(value) && Object.values(value).every(({ blocks, tail }) => blocks.every(isText) && isText(tail)),
  model: isText, system: isText, conversation: isText, mark: isText, label: isText, question: Number.isInteger,
  columns: (value) => value.every(isText),
  vote: (value) => value === null || isText(value),
  models: (value) => value.every(isText),
  params: isRecord,
  elsewhere: (value) => isRecord(value) && Object.values(value).every(isText),
  queue: (value) => value.every((/** @type {any} */ { id, text, images }) => isText(id) && isText(text) && Number.isFinite(images)),
  limits: (value) => Number.isFinite(value.image) && Number.isFinite(value.images),
};

/** @param {unknown} value */
function isText(value) {
  return typeof value === "string";
}

/** @param {unknown} value */
function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @template T @param {T} record a turn or settings @returns {T} the same, if a view can show it */
function checked(record) {
  if (!isRecord(record)) throw new Error("not an object");
  for (const [name, value] of Object.entries(/** @type {object} */ (record))) {
    if (CHECKS[name] && !CHECKS[name](value)) throw new Error(`${name} has a wrong type`);
  }
  return record;
}

/**
 * @param {State} state
 * @param {any} changes
 * @returns {State}
 */
function applyFields(state, changes) {
  const order = changes.order ?? state.order;
  const settings = checked(changes.settings ?? state.settings);
  const totals = changes.totals ?? state.totals;
  const running = changes.running === undefined ? state.running : changes.running;
  if (!isText(totals) || !(running === null || isText(running))) throw new Error("a field has a wrong type");
  if (!order.every((/** @type {string} */ id) => state.turns.has(id))) throw new Error("a turn is missing");
  return {
    ...state,
    order,
    running,
    totals,
    settings,
  };
}

/**
 * @param {State} state
 * @param {any[]} deltas
 * @returns {State}
 */
function applyDeltas(state, deltas) {
  const turns = new Map(state.turns);
  for (const delta of deltas) {
    const turn = turns.get(delta.id);
    if (!(delta.add ?? []).every((/** @type {unknown} */ block) => typeof block === "string")) throw new Error("a block has a wrong type");
    if (!turn) throw new Error("a delta for an unknown turn");
    const part = delta.anew ? EMPTY_PART : (turn.parts[delta.part] ?? EMPTY_PART);
    const grown = {
      blocks: delta.add ? part.blocks.concat(delta.add) : part.blocks,
      tail: applySplice(part.tail, delta.tail),
    };
    turns.set(delta.id, { ...turn, parts: { ...turn.parts, [delta.part]: grown } });
  }
  return { ...state, turns };
}

/**
 * @param {string} before
 * @param {[number, string, number]} change characters kept at the start, inserted text, characters kept at the end
 */
export function applySplice(before, [start, middle, end]) {
  if (!(start >= 0 && end >= 0 && start + end <= before.length && typeof middle === "string")) throw new Error("a splice of a different text");
  return before.slice(0, start) + middle + before.slice(before.length - end);
}
