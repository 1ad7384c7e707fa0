// Word diff of two texts: the shortest edit by words, as by `git diff --word-diff`.

const MAX_CELLS = 4_000_000; // of the table of common subsequences, about 20 ms

/**
 * @typedef {{kind: "same" | "removed" | "added", text: string}} Piece
 */

/**
 * Return the pieces of `after`, and what of `before` is missing in it, in reading order.
 * Long texts are compared by lines, and still longer ones as a whole.
 * @param {string} before @param {string} after
 * @returns {Piece[]}
 */
export function wordDiff(before, after) {
  for (const pattern of [/\s+|[\p{L}\p{N}_]+|[^]/gu, /[^\n]*\n|[^\n]+/g]) {
    const pieces = diff(before.match(pattern) ?? [], after.match(pattern) ?? []);
    if (pieces) return pieces;
  }
  return merged([{ kind: "removed", text: before }, { kind: "added", text: after }]);
}

/** @param {string[]} before @param {string[]} after @returns {Piece[] | null} null if they are too long */
function diff(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let end = 0;
  while (end < before.length - start && end < after.length - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  const old = before.slice(start, before.length - end), young = after.slice(start, after.length - end);
  const width = young.length + 1;
  if ((old.length + 1) * width > MAX_CELLS) return null;
  const common = new Uint32Array((old.length + 1) * width); // longest common subsequence of the rests
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = young.length - 1; j >= 0; j--) {
      common[i * width + j] = old[i] === young[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  /** @type {Piece[]} */
  const pieces = [{ kind: "same", text: before.slice(0, start).join("") }];
  for (let i = 0, j = 0; i < old.length || j < young.length; ) {
    if (i < old.length && j < young.length && old[i] === young[j]) {
      pieces.push({ kind: "same", text: old[i++] });
      j++;
    } else if (i < old.length && (j === young.length || common[(i + 1) * width + j] >= common[i * width + j + 1])) pieces.push({ kind: "removed", text: old[i++] });
    else pieces.push({ kind: "added", text: young[j++] });
  }
  pieces.push({ kind: "same", text: before.slice(before.length - end).join("") });
  return merged(pieces);
}

/** Join neighbours of a kind; of what stands between two equal pieces, first what was removed. @param {Piece[]} pieces @returns {Piece[]} */
function merged(pieces) {
  /** @type {Piece[]} */
  const result = [];
  let removed = "", added = "";
  const flush = () => {
    if (removed) result.push({ kind: "removed", text: removed });
    if (added) result.push({ kind: "added", text: added });
    removed = added = "";
  };
  for (const { kind, text } of pieces) {
    if (kind === "removed") removed += text;
    else if (kind === "added") added += text;
    else if (text) {
      flush();
      const last = result.at(-1);
      if (last?.kind === "same") last.text += text;
      else result.push({ kind, text });
    }
  }
  flush();
  return result;
}
