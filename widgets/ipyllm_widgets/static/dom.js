// Elements, and the one place where HTML enters the page. That HTML is the kernel's: parsed without raw HTML and
// sanitised there. Everything else is set as text.

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

/**
 * A button with a drawn sign and a name for those who do not see it.
 * @param {string} sign
 * @param {string} label
 * @param {(event: MouseEvent) => void} click
 */
export function button(sign, label, click, kind = "ipyllm-icon") {
  return h("button", { type: "button", class: kind, title: label, "aria-label": label, click }, sign);
}

/**
 * @param {Element} element
 * @param {string} html sanitised by `ipyllm.rendering`
 */
export function setHtml(element, html) {
  element.innerHTML = html;
}

/** @param {string} text */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure context, or in a frame that may not: the old way.
    const area = h("textarea", { class: "ipyllm-away" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/**
 * Give each code block of a finished block its button.
 * @param {Element} element
 */
export function addCopyButtons(element) {
  for (const pre of element.querySelectorAll("pre")) {
    const copy = button("Copy", "Copy code", async () => {
      await copyText(pre.textContent ?? "");
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    }, "ipyllm-copy");
    const frame = h("div", { class: "ipyllm-code" });
    pre.replaceWith(frame);
    pre.tabIndex = 0; // so that the keyboard can scroll it
    frame.append(pre, copy);
  }
  for (const table of element.querySelectorAll("table")) table.tabIndex = 0;
}

/** Frozen blocks and a live tail: what is frozen is put into the page once. */
export class PartView {
  /** @param {Element} element */
  constructor(element) {
    this.element = element;
    this.tailElement = h("div");
    element.append(this.tailElement);
    /** @type {string[]} */
    this.blocks = [];
    this.tail = "";
  }

  /** @param {import("./reducer.js").Part} part */
  update(part) {
    if (part.blocks !== this.blocks) {
      const kept = this.blocks.length;
      if (kept > part.blocks.length || this.blocks.some((block, place) => block !== part.blocks[place])) {
        this.element.replaceChildren(this.tailElement);
        this.blocks = [];
      }
      for (const html of part.blocks.slice(this.blocks.length)) {
        const block = h("div");
        setHtml(block, html);
        addCopyButtons(block);
        this.tailElement.before(block);
      }
      this.blocks = part.blocks;
    }
    if (part.tail !== this.tail) {
      this.tail = part.tail;
      setHtml(this.tailElement, part.tail);
    }
  }
}
