// The dashboard in the browser: puts the parts that Python has drawn in their places, and tells Python what was clicked.

import { Commands } from "./commands.js";
import { keepKeys, setHtml } from "./dom.js";

const PARTS = ["bar", "tiles", "models", "charts", "calls"];
const HERE_EVERY_MS = 15_000;
const HELD_AT_MOST_MS = 2_000;

/** @param {{ model: any, el: HTMLElement }} context */
function render({ model, el }) {
  el.classList.add("ipyllm-dashboard");
  const places = Object.fromEntries(
    PARTS.map((name) => {
      const place = document.createElement(name === "bar" ? "form" : "section");
      place.className = `ipyllm-${name}`;
      return [name, place];
    }),
  );
  places.bar.setAttribute("aria-label", "Filters");
  places.bar.addEventListener("submit", (event) => event.preventDefault());
  const said = document.createElement("p");
  said.className = "ipyllm-said";
  said.setAttribute("role", "status");
  const opened = document.createElement("section");
  opened.className = "ipyllm-opened";
  opened.setAttribute("aria-label", "One call");
  opened.hidden = true;
  let openedCall = "";
  let waits = false;
  const commands = new Commands(model, (hint) => {
    if (hint || waits) say(hint); // an answer takes back that we waited, not what it says itself
    waits = Boolean(hint);
  }, (sentence) => say(sentence));
  const ask = async (/** @type {{type: string} & Record<string, unknown>} */ message) => {
    const error = await commands.send(message.type, message);
    if (error) say(error);
  };
  el.append(places.bar, said, places.tiles, places.models, places.charts, opened, places.calls);

  // A click on what is replaced while the mouse button is down is none: what is new then waits.
  let isHeld = false;
  const late = new Set();
  let timeout = 0;
  const hold = () => {
    isHeld = true;
    clearTimeout(timeout);
    timeout = setTimeout(release, HELD_AT_MOST_MS); // over the list of a select no release is told
  };
  const release = () => {
    isHeld = false;
    setTimeout(() => {
      for (const name of late) show(name);
      late.clear();
    }); // after the click
  };
  el.addEventListener("pointerdown", hold);
  for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, release);

  /** Python escapes or sanitises all that it did not write itself. @param {string} name */
  function show(name) {
    if (isHeld) return void late.add(name);
    const place = places[name];
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && place.contains(active) ? active : null;
    if (name === "bar" && focused?.matches("input")) return; // not under the hands of somebody who types
    const found = focused && ["data-filter", "data-call", "data-export"].find((key) => focused.hasAttribute(key));
    const scrolled = place.querySelector(".scroll")?.scrollTop ?? 0;
    setHtml(place, model.get(name));
    const scroll = place.querySelector(".scroll");
    if (scroll) scroll.scrollTop = scrolled;
    const again = found && place.querySelector(`[${found}="${CSS.escape(focused?.getAttribute(found) ?? "")}"]`);
    if (again instanceof HTMLElement) again.focus();
  }

  function say(hint = "") {
    said.textContent = hint || model.get("problem");
  }

  /** @param {Event} event */
  function chosen(event) {
    const control = event.target;
    if (!(control instanceof HTMLInputElement || control instanceof HTMLSelectElement)) return;
    ask({ type: "filter", name: control.dataset.filter, value: control.value });
  }

  /** @param {Event} event */
  function clicked(event) {
    const button = event.target instanceof Element && event.target.closest("button");
    if (!button) return;
    if (button.dataset.call) ask({ type: "call", call_id: button.dataset.call });
    else if (button.dataset.export) ask({ type: "export", format: button.dataset.export });
    else if ("close" in button.dataset) close();
  }

  function close() {
    const back = places.calls.querySelector(`[data-call="${CSS.escape(openedCall)}"]`);
    opened.hidden = true;
    opened.replaceChildren();
    if (back instanceof HTMLElement) back.focus();
  }

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    if (event.key === "Enter" && event.target instanceof HTMLInputElement) {
      event.preventDefault();
      event.target.blur(); // which fires "change"; without a submit button Enter alone does not
      event.target.focus();
    }
    if (event.key === "Escape" && !opened.hidden) {
      event.stopPropagation();
      close();
    }
  }

  /** @param {any} message @param {ArrayBuffer[]} buffers */
  function heard(message, buffers) {
    if (message.type === "ack") commands.answer(message);
    if (message.type === "said") said.textContent = message.text;
    if (message.type === "call") {
      openedCall = message.call_id;
      setHtml(opened, `<button type="button" data-close aria-label="close">✕</button>${message.html}`);
      for (const block of opened.querySelectorAll("pre")) block.tabIndex = 0; // a long one scrolls, by its keys too
      opened.hidden = false;
      opened.querySelector("button")?.focus({ preventScroll: true });
      opened.scrollIntoView({ block: "nearest" });
    }
    if (message.type === "file") {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(buffers));
      link.download = message.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    }
  }

  const updates = PARTS.map((name) => /** @type {const} */ ([`change:${name}`, () => show(name)]));
  for (const [event, update] of updates) model.on(event, update);
  const problem = () => say();
  model.on("change:problem", problem);
  model.on("msg:custom", heard);
  el.addEventListener("change", chosen);
  el.addEventListener("click", clicked);
  el.addEventListener("keydown", pressed);
  PARTS.forEach(show);
  say();
  const here = () => document.visibilityState === "visible" && !commands.gone && model.send({ type: "here", view: commands.view });
  here();
  const timer = setInterval(here, HERE_EVERY_MS);

  const freeKeys = keepKeys(el);
  return () => {
    freeKeys();
    for (const end of ["pointerup", "pointercancel"]) window.removeEventListener(end, release);
    clearInterval(timer);
    try {
      model.send({ type: "gone", view: commands.view }); // so that Python need not look for us any more
    } catch {
      // Nor need it where the kernel is gone.
    }
    for (const [event, update] of updates) model.off(event, update);
    model.off("change:problem", problem);
    commands.close();
    model.off("msg:custom", heard);
  };
}

export default { render };
