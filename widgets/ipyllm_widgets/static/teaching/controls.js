// Controls of the widgets for a class: sliders with their value as text, and a bar of some pieces.

import { h } from "../dom.js";

/**
 * A slider over values, with its value in words beside it.
 * @param {string} label
 * @param {{values?: number[], min?: number, max?: number, step?: number, words: (value: number) => string, help?: string}} range `values`: those it steps through
 * @param {(value: number) => void} onInput
 */
export function slider(label, { values, min = 0, max = 1, step = 0.01, words, help = "" }, onInput) {
  const input = h("input", {
    type: "range", title: help, min: values ? 0 : min, max: values ? values.length - 1 : max, step: values ? 1 : step,
    input: () => {
      const value = values ? values[Number(input.value)] : Number(input.value);
      say(value);
      onInput(value);
    },
  });
  const output = h("output", { "aria-hidden": "true" });
  const say = (/** @type {number} */ value) => {
    output.textContent = words(value);
    input.setAttribute("aria-valuetext", words(value));
  };
  return {
    element: h("label", { class: "ipyllm-slider" }, h("span", {}, label), input, output),
    /** @param {number} value */
    set(value) {
      const place = values ? nearest(values, value) : value;
      if (input.value !== String(place)) input.value = String(place);
      say(value);
    },
  };
}

/** Return the index of the value nearest to another. @param {number[]} values @param {number} value */
export function nearest(values, value) {
  let best = 0;
  for (const [index, each] of values.entries()) if (Math.abs(each - value) < Math.abs(values[best] - value)) best = index;
  return best;
}

/** @param {string} label @param {(value: boolean) => void} onInput */
export function checkbox(label, onInput) {
  const input = h("input", { type: "checkbox", input: () => onInput(input.checked) });
  return { element: h("label", { class: "ipyllm-check" }, input, label), set: (/** @type {boolean} */ value) => (input.checked = value) };
}

/** @param {string} label @param {Record<string, string>} options words by value @param {(value: string) => void} onInput */
export function choice(label, options, onInput) {
  const input = h("select", { class: "ipyllm-input", input: () => onInput(input.value) });
  for (const [value, words] of Object.entries(options)) input.append(h("option", { value }, words));
  return { element: h("label", { class: "ipyllm-choice" }, h("span", {}, label), input), set: (/** @type {string} */ value) => (input.value = value) };
}

/** @param {string} label @param {() => void} click */
export function textButton(label, click) {
  return h("button", { type: "button", class: "ipyllm-button", click }, label);
}

/**
 * A bar whose pieces are set again and again.
 * @param {number} n of pieces, at most
 */
export class Bar {
  constructor(n = 0) {
    this.element = h("div", { class: "ipyllm-track", "aria-hidden": "true" });
    /** @type {HTMLElement[]} */
    this.pieces = [];
    for (let index = 0; index < n; index++) this.add();
  }

  add() {
    const piece = h("i");
    this.pieces.push(piece);
    this.element.append(piece);
    return piece;
  }

  /** @param {{tone: string, start: number, length: number, thin?: boolean}[]} pieces fractions of the width */
  set(pieces) {
    while (this.pieces.length < pieces.length) this.add();
    for (const [index, element] of this.pieces.entries()) {
      const piece = pieces[index];
      const isShown = piece !== undefined && piece.length > 0;
      element.hidden = !isShown;
      if (!isShown) continue;
      const name = `ipyllm-tone ${piece.tone}${piece.thin ? " thin" : ""}`;
      if (element.className !== name) element.className = name;
      element.style.insetInlineStart = `${100 * piece.start}%`;
      element.style.inlineSize = `${100 * piece.length}%`;
    }
  }
}

/** @param {[string, string][]} entries tone and words */
export function legend(entries) {
  const list = h("ul", { class: "ipyllm-tlegend" });
  for (const [tone, words] of entries) list.append(h("li", {}, h("i", { class: `ipyllm-tone ${tone}`, "aria-hidden": "true" }), words));
  return list;
}

/**
 * Return a table, its body, and its caption, which only screen readers get.
 * @param {string} caption
 * @param {string[]} heads
 */
export function table(caption, heads) {
  const head = h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, name)));
  const body = h("tbody");
  return { element: h("table", {}, h("caption", { class: "ipyllm-away" }, caption), h("thead", {}, head), body), head, body };
}
