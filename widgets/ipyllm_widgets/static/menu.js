// A button that opens a menu.

import { h } from "./dom.js";

const MOST_HEIGHT_PX = 380;
const LEAST_HEIGHT_PX = 110;

/**
 * Create a menu button: arrow keys move, Enter chooses, Escape closes.
 * @param {string} label
 * @param {Record<string, string>} items names by value
 * @param {(value: string) => void} choose
 * @param {Element} [shown] an icon that is shown in place of the label
 * @returns {any} the element; its functions `setItems` and `setCurrent` change the items, and which of them is marked
 */
export function menuButton(label, items, choose, shown) {
  const named = shown ? { title: label, "aria-label": label, class: "ipyllm-icon" } : { class: "ipyllm-button" };
  const opener = h("button", { type: "button", ...named, "aria-haspopup": "menu", "aria-expanded": "false", click: () => show(menu.hidden) }, shown ?? label);
  const menu = h("div", { class: "ipyllm-menu", role: "menu", "aria-label": label, hidden: true });
  /** @type {any[]} */
  let entries = [];
  const setItems = (/** @type {Record<string, string>} */ offered) => {
    entries = Object.entries(offered).map(([value, name]) =>
      h("button", { type: "button", class: "ipyllm-item", role: "menuitem", tabindex: -1, click: () => {
        show(false);
        choose(value);
      }, "data-value": value }, name));
    menu.replaceChildren(...entries);
  };
  const setCurrent = (/** @type {string} */ value) => {
    for (const entry of entries) {
      if (entry.dataset.value === value) entry.setAttribute("aria-current", "true");
      else entry.removeAttribute("aria-current");
    }
  };
  setItems(items);
  const show = (/** @type {boolean} */ open) => {
    menu.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    // What is beyond the widget is cut off.
    const below = (frame.closest(".ipyllm-widget")?.getBoundingClientRect().bottom ?? 0) - menu.getBoundingClientRect().top - 8;
    if (open) menu.style.maxHeight = `${Math.min(MOST_HEIGHT_PX, Math.max(LEAST_HEIGHT_PX, below))}px`;
    (open ? (entries.find((entry) => entry.hasAttribute("aria-current")) ?? entries[0]) : opener).focus();
  };
  const keydown = (/** @type {KeyboardEvent} */ event) => {
    const at = entries.indexOf(/** @type {any} */ (event.target));
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: (at + 1) % entries.length, ArrowUp: (Math.max(at, 0) + entries.length - 1) % entries.length, Home: 0, End: entries.length - 1 };
    if (event.key === "Escape" && !menu.hidden) show(false);
    else if (event.key in targets && (at >= 0 || event.key.startsWith("Arrow"))) {
      if (menu.hidden) show(true);
      entries[targets[event.key]].focus();
    } else return;
    event.preventDefault();
  };
  const focusout = (/** @type {FocusEvent} */ event) => {
    if (menu.hidden || frame.contains(/** @type {Node | null} */ (event.relatedTarget))) return;
    menu.hidden = true;
    opener.setAttribute("aria-expanded", "false");
  };
  const frame = h("div", { class: "ipyllm-menu-frame", keydown, focusout }, opener, menu);
  return Object.assign(frame, { setItems, setCurrent });
}
