// A part of an answer: its text, its reasoning or its tool calls.

import { addCodeButtons, h } from "./dom.js";
import { patchHtml } from "./patch.js";

/** Shows finished blocks, which are set once, and a live tail, which is patched. */
export class PartView {
  /** @param {Element} element @param {((code: string) => void) | null} [insert] puts code into a new cell */
  constructor(element, insert = null) {
    this.element = element;
    this.insert = insert;
    this.tailElement = h("div");
    element.append(this.tailElement);
    /** @type {string[]} */
    this.blocks = [];
    this.tail = "";
  }

  /** @param {import("./reducer.js").Part} part */
  update(part) {
    if (part.blocks !== this.blocks) {
      const known = this.blocks.length;
      if (known > part.blocks.length || this.blocks.some((block, index) => block !== part.blocks[index])) {
        this.element.replaceChildren(this.tailElement);
        this.blocks = [];
      }
      for (const html of part.blocks.slice(this.blocks.length)) {
        const block = this.tailElement; // it shows the beginning of this block, in which text may be selected
        patchHtml(block, html);
        addCodeButtons(block, this.insert);
        this.tailElement = h("div");
        this.tail = "";
        block.after(this.tailElement);
      }
      this.blocks = part.blocks;
    }
    if (part.tail !== this.tail) {
      this.tail = part.tail;
      patchHtml(this.tailElement, part.tail);
    }
  }
}
