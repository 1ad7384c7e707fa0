// The form in which a question is edited: Enter asks again, Shift+Enter begins a new line, Escape cancels.

import { h } from "../dom.js";

/**
 * @param {string} text of the question
 * @param {{save: (text: string) => void, close: () => void}} actions
 * @returns {{element: HTMLElement, focus: () => void}}
 */
export function editForm(text, { save, close }) {
  const area = h("textarea", { class: "ipyllm-input", "aria-label": "Edit the question", dir: "auto", rows: 3 });
  area.value = text;
  area.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && !event.shiftKey) save(area.value);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const element = h(
    "div",
    { class: "ipyllm-edit" },
    area,
    h("button", { type: "button", class: "ipyllm-button ipyllm-primary", click: () => save(area.value) }, "Ask again"),
    h("button", { type: "button", class: "ipyllm-button", click: close }, "Cancel"),
  );
  return { element, focus: () => {
    area.focus();
    area.setSelectionRange(text.length, text.length);
  } };
}
