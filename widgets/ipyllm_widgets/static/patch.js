// Changes elements into those of new HTML, keeping what is the same: a selection, an opened fold and a scroll position survive.

import { setHtml } from "./dom.js";

/**
 * Give an element this content.
 * @param {Element} element
 * @param {string} html sanitised by `ipyllm.rendering`
 */
export function patchHtml(element, html) {
  const next = document.createElement("template");
  setHtml(next, html);
  patchChildren(element, next.content);
}

/** @param {Node} before @param {Node} next */
function patchChildren(before, next) {
  let at = before.firstChild;
  for (const node of [...next.childNodes]) {
    if (at && at.nodeName === node.nodeName) {
      patchNode(at, node);
      at = at.nextSibling;
    } else {
      before.insertBefore(node, at);
    }
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

/** @param {Node} before @param {Node} next of the same name */
function patchNode(before, next) {
  if (before instanceof Text && next instanceof Text) {
    if (next.data.startsWith(before.data)) before.appendData(next.data.slice(before.length)); // keeps a selection in it
    else before.data = next.data;
  } else if (before instanceof Element && next instanceof Element) {
    for (const { name } of [...before.attributes]) {
      if (!next.hasAttribute(name) && !(name === "open" && before instanceof HTMLDetailsElement)) before.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) if (before.getAttribute(name) !== value) before.setAttribute(name, value);
    patchChildren(before, next);
  }
}
