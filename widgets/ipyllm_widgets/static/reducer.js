// From the messages of the kernel to what a view shows. Pure: the same messages give the same state, and a test can
// replay them. Messages are numbered; after a gap the state is `stale` until a snapshot comes.

/**
 * @typedef {{blocks: string[], tail: string}} Part
 * @typedef {{id: string, text: string, chars: number, images: string[], branch: [number, number], status: string,
 *   footer: string, note: string, error: string | null, parts: Record<string, Part>}} Turn
 * @typedef {{model: string, models: string[], system: string, params: Record<string, unknown>, conversation: string,
 *   limits: {image: number, images: number}}} Settings
 * @typedef {{seq: number, stale: boolean, order: string[], turns: Map<string, Turn>, running: string | null,
 *   totals: string, settings: Settings}} State
 */

/** @type {Part} */
const NO_PART = { blocks: [], tail: "" };

const NO_TURN = { text: "", chars: 0, images: [], branch: [1, 1], status: "", footer: "", note: "", error: null, parts: {} };

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
    if (message.kind === "snapshot") return takeSnapshot(state, message.state);
    if (message.kind !== "update" && message.kind !== "delta") return state;
    if (message.seq <= state.seq) return state; // seen, or part of a snapshot
    if (state.stale || message.seq !== state.seq + 1) return { ...state, stale: true };
    const next = message.kind === "update" ? takeUpdate(state, message) : takeDeltas(state, message.deltas);
    return { ...next, seq: message.seq };
  } catch {
    return { ...state, stale: true }; // malformed: a snapshot will mend it
  }
}

/**
 * @param {State} state
 * @param {any} snapshot
 * @returns {State}
 */
function takeSnapshot(state, snapshot) {
  if (typeof snapshot?.seq !== "number" || (!state.stale && snapshot.seq < state.seq)) return state;
  const turns = new Map();
  for (const turn of snapshot.turns) turns.set(turn.id, whole({ ...NO_TURN, ...turn }));
  return takeRest({ ...state, seq: snapshot.seq, stale: false, turns }, snapshot);
}

/**
 * @param {State} state
 * @param {any} update
 * @returns {State}
 */
function takeUpdate(state, update) {
  const turns = new Map(state.turns);
  for (const news of update.turns ?? []) {
    const known = turns.get(news.id);
    if (!known && news.footer === undefined) throw new Error("half a turn");
    turns.set(news.id, whole({ ...NO_TURN, ...known, ...news }));
  }
  const next = takeRest({ ...state, turns }, update);
  if (update.order) {
    const shown = new Set(next.order);
    for (const id of turns.keys()) if (!shown.has(id)) turns.delete(id);
  }
  return next;
}

/** @type {Record<string, (value: any) => boolean>} what the fields are that a view draws; not every widget has all */
const DRAWN = {
  id: isText, text: isText, chars: Number.isFinite, status: isText, footer: isText, note: isText,
  error: (value) => value === null || isText(value),
  images: (value) => value.every(isText),
  branch: (value) => value.length === 2 && value.every(Number.isInteger),
  parts: (value) => isRecord(value) && Object.values(value).every(({ blocks, tail }) => blocks.every(isText) && isText(tail)),
  model: isText, system: isText, conversation: isText,
  models: (value) => value.every(isText),
  params: isRecord,
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

/** @template T @param {T} record a turn or settings @returns {T} it, if a view can show it */
function whole(record) {
  if (!isRecord(record)) throw new Error("no record");
  for (const [name, value] of Object.entries(/** @type {object} */ (record))) {
    if (DRAWN[name] && !DRAWN[name](value)) throw new Error(`${name} of another kind`);
  }
  return record;
}

/**
 * @param {State} state
 * @param {any} news
 * @returns {State}
 */
function takeRest(state, news) {
  const order = news.order ?? state.order;
  const settings = whole(news.settings ?? state.settings);
  const totals = news.totals ?? state.totals;
  const running = news.running === undefined ? state.running : news.running;
  if (!isText(totals) || !(running === null || isText(running))) throw new Error("news of another kind");
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
function takeDeltas(state, deltas) {
  const turns = new Map(state.turns);
  for (const delta of deltas) {
    const turn = turns.get(delta.id);
    if (!(delta.add ?? []).every((/** @type {unknown} */ block) => typeof block === "string")) throw new Error("a block of another kind");
    if (!turn) throw new Error("a delta for no turn");
    const part = delta.anew ? NO_PART : (turn.parts[delta.part] ?? NO_PART);
    const grown = {
      blocks: delta.add ? part.blocks.concat(delta.add) : part.blocks,
      tail: spliced(part.tail, delta.tail),
    };
    turns.set(delta.id, { ...turn, parts: { ...turn.parts, [delta.part]: grown } });
  }
  return { ...state, turns };
}

/**
 * @param {string} before
 * @param {[number, string, number]} change characters kept of the beginning, what is put in, characters kept of the end
 */
export function spliced(before, [start, middle, end]) {
  if (!(start >= 0 && end >= 0 && start + end <= before.length && typeof middle === "string")) throw new Error("a splice of another text");
  return before.slice(0, start) + middle + before.slice(before.length - end);
}
