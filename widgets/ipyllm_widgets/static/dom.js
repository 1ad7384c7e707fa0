// Creates elements. HTML enters the page here only: it comes from the kernel, sanitised. Everything else is set as text.

/**
 * @param {string} tag
 * @param {Record<string, any>} [props] attributes; functions are listeners, `class` and `data-…` as in HTML
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

// SVG paths on a grid of 16, because fonts with such symbols are not installed everywhere.
const ICONS = {
  regenerate: "M13 8a5 5 0 1 1-1.5-3.5M13 2v3h-3",
  attach: "M8 3v10M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 6h7v7H6zM10 6V3H3v7h3",
  down: "M3 6l5 5 5-5",
  delete: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
  edit: "M3 13l.7-3L11 2.7 13.3 5 6 12.3zM9.5 4.2l2.3 2.3",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5-5 5",
  send: "M8 13V3M3.5 7.5L8 3l4.5 4.5",
  good: "M5 7.5v6H2.5v-6zM5 7.5L8 2.5c1.1 0 1.7.8 1.4 1.9L8.9 6.5h3.7c.8 0 1.3.7 1.1 1.5l-1.1 4.3c-.2.7-.7 1.2-1.4 1.2H5",
  bad: "M11 8.5v-6h2.5v6zM11 8.5l-3 5c-1.1 0-1.7-.8-1.4-1.9l.5-2.1H3.4c-.8 0-1.3-.7-1.1-1.5l1.1-4.3c.2-.7.7-1.2 1.4-1.2H11",
  stop: "M4.5 4.5h7v7h-7z",
};

const SVG = "http://www.w3.org/2000/svg"; // a name, not an address

/** @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", width: "1em", height: "1em", fill: name === "stop" ? "currentColor" : "none", stroke: "currentColor", "stroke-width": "1.6", "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" })) svg.setAttribute(key, value);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Create a button with an icon and an accessible name.
 * @param {keyof typeof ICONS} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} click
 */
export function button(name, label, click, kind = "ipyllm-icon") {
  return h("button", { type: "button", class: kind, title: label, "aria-label": label, click }, icon(name));
}

/**
 * @param {Element} element
 * @param {string} html sanitised by `ipyllm.rendering`
 */
export function setHtml(element, html) {
  element.innerHTML = html;
}

/** @param {string} text */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure context or permission: the old API.
    const area = h("textarea", { class: "ipyllm-away" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/**
 * Create a button that copies a text and says so.
 * @param {string} label
 * @param {(copy: (text: string) => void) => void} withText calls its argument with the text
 */
export function copyButton(label, withText) {
  const element = button("copy", label, () => withText(async (text) => {
    await copyText(text);
    element.replaceChildren("Copied");
    element.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      element.replaceChildren(icon("copy"));
      element.setAttribute("aria-label", label);
    }, 1500);
  }));
  return element;
}

/** Return the text of an answer as it is shown, without that of its buttons. @param {HTMLElement} element */
export function shownText(element) {
  element.classList.add("ipyllm-copying");
  const text = element.innerText;
  element.classList.remove("ipyllm-copying");
  return text;
}

/**
 * Show the language of each code block, and add buttons that copy it and, with `insert`, put it into a new cell.
 * @param {Element} element
 * @param {((code: string) => void) | null} insert
 */
export function addCodeButtons(element, insert) {
  for (const pre of element.querySelectorAll("pre")) {
    const codeButton = (/** @type {string} */ kind, /** @type {string[]} */ [name, done, label], /** @type {(code: string) => unknown} */ act) => {
      const element = h("button", { type: "button", class: kind, "aria-label": label, click: async () => {
        await act(pre.textContent ?? "");
        element.textContent = done;
        setTimeout(() => (element.textContent = name), 1500);
      } }, name);
      return element;
    };
    const frame = h("div", { class: "ipyllm-code" });
    const language = pre.querySelector("code")?.className.replace("language-", "");
    if (language) frame.append(h("div", { class: "ipyllm-language" }, language));
    pre.replaceWith(frame);
    pre.tabIndex = 0; // so that the keyboard can scroll it
    frame.append(pre);
    if (insert) frame.append(codeButton("ipyllm-copy ipyllm-insert", ["Insert below", "Inserted", "Insert below, as a new cell"], insert));
    frame.append(codeButton("ipyllm-copy", ["Copy", "Copied", "Copy code"], copyText));
  }
  for (const table of element.querySelectorAll("table")) table.tabIndex = 0;
}

/**
 * Keep the notebook's keyboard shortcuts from acting on what is typed in a widget, except Ctrl+S and Cmd+S.
 * Notebook 7 handles a key in the capture phase, unless the focused element has the attribute set below; JupyterLab handles it in
 * the bubbling phase.
 * @param {HTMLElement} section contains the widget
 * @returns {() => void} to be called when the view closes
 */
export function isolateKeys(section) {
  const mark = (/** @type {KeyboardEvent} */ event) => {
    if (event.target instanceof Element && section.contains(event.target)) {
      event.target.toggleAttribute("data-lm-suppress-shortcuts", !isSave(event));
    }
  };
  const stop = (/** @type {KeyboardEvent} */ event) => {
    if (!isSave(event)) event.stopPropagation();
  };
  window.addEventListener("keydown", mark, true);
  section.addEventListener("keydown", stop);
  return () => {
    window.removeEventListener("keydown", mark, true);
    section.removeEventListener("keydown", stop);
  };
}

/** @param {KeyboardEvent} event */
function isSave(event) {
  return (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "s";
}

