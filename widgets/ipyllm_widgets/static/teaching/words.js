// Numbers as people read them, as `ipyllm/text/format.py` and `percent` of the view of tokens have them. No DOM.

/** @param {number} probability */
export function percent(probability) {
  const value = 100 * probability;
  if (value >= 99.95) return "100 %";
  if (value >= 99) return `${value.toFixed(1)} %`;
  if (value >= 9.95) return `${value.toFixed(0)} %`;
  if (value < 1e-4) return value ? "<0.0001 %" : "0 %";
  return `${Number(value.toPrecision(2))} %`;
}

/** @param {number} n @param {string} noun */
export function counted(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

/** @param {number} value */
export function seconds(value) {
  if (value < 0.0005) return value ? "<0.001 s" : "0 s";
  if (value >= 59.95) return `${Math.floor(Math.round(value) / 60)} min ${String(Math.round(value) % 60).padStart(2, "0")} s`;
  return `${value.toFixed(value < 0.00995 ? 3 : value < 9.995 ? 2 : 1)} s`;
}
