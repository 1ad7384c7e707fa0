// The dashboard view: shows the parts that Python has rendered, and sends what was clicked.

import { Commands } from "../commands.js";
import { h, isolateKeys, setHtml } from "../dom.js";
import { ChartTips } from "./chart_tips.js";

const PARTS = ["bar", "tiles", "models", "charts", "calls"];
const HERE_EVERY_MS = 15_000;
const MAX_HOLD_MS = 2_000;
const MAX_TURN_MS = 5_000; // after which the next click is sent, whether this one was answered or not
const SEARCH_CALLS_AFTER_MS = 350; // without a key
const DOUBLE_CLICK_MS = 300;

/** @param {{ model: any, el: HTMLElement }} context */
function render({ model, el }) {
  el.classList.add("ipyllm-dashboard");
  const sections = Object.fromEntries(
    PARTS.map((name) => {
      const section = document.createElement(name === "bar" ? "form" : "section");
      section.className = `ipyllm-${name}`;
      return [name, section];
    }),
  );
  sections.bar.setAttribute("aria-label", "Filters");
  sections.bar.addEventListener("submit", (event) => event.preventDefault());
  const notice = document.createElement("p");
  notice.className = "ipyllm-said";
  notice.setAttribute("role", "status");
  const opened = document.createElement("section");
  opened.className = "ipyllm-opened";
  opened.setAttribute("aria-label", "One call");
  opened.hidden = true;
  let openedCall = "";
  let isWaiting = false;
  const commands = new Commands(model, (hint) => {
    if (hint || isWaiting) showNotice(hint); // the end of waiting removes the hint, not an error
    isWaiting = Boolean(hint);
  }, (message) => showNotice(message));
  /** @type {Map<unknown, [string, Record<string, unknown>]>} clicks that wait for earlier ones, by what they set */
  const clicks = new Map();
  let clicked = Promise.resolve();
  /** Send a command in its turn; of those that wait with the same key only the last counts. @param {string} command @param {Record<string, unknown>} fields @param {unknown} [key] */
  const ask = (command, fields, key = fields) => {
    clicks.delete(key);
    clicks.set(key, [command, fields]);
    clicked = clicked.then(sendClick);
  };
  const sendClick = async () => {
    const [first] = clicks;
    if (!first) return;
    const [key, [command, fields]] = first;
    clicks.delete(key);
    const isList = command === "list";
    if (isList) working.textContent = "search" in fields ? "searching …" : "page" in fields ? "turning over …" : "sorting …";
    if (isList) nWorking += 1;
    const answered = commands.send(command, fields).then((error) => {
      if (error) showNotice(error);
      if (isList && --nWorking === 0) working.textContent = "";
    });
    await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, MAX_TURN_MS))]);
  };
  const working = h("span", { class: "ipyllm-working", role: "status" });
  let nWorking = 0; // changes of the list that Python computes
  let searchTimer = 0;
  let rowTimer = 0;
  const search = h("input", { type: "search", placeholder: "in prompts and answers", size: 24, input: () => {
    clearTimeout(searchTimer);
    searchTimer = setTimeout(() => ask("list", { search: search.value }), SEARCH_CALLS_AFTER_MS);
  } });
  const searchRow = h("form", { class: "ipyllm-find", role: "search", submit: (/** @type {Event} */ event) => event.preventDefault() }, h("label", {}, "Find calls ", search), working);
  const showSearch = () => document.activeElement !== search && (search.value = model.get("search"));
  const tips = new ChartTips(sections.charts);
  el.append(sections.bar, notice, sections.tiles, sections.models, sections.charts, tips.status, searchRow, sections.calls, opened);

  // Replacing an element while the mouse button is down loses the click: such updates wait.
  let isHeld = false;
  const heldBack = new Set();
  let timeout = 0;
  const hold = () => {
    isHeld = true;
    clearTimeout(timeout);
    timeout = setTimeout(release, MAX_HOLD_MS); // over the list of a select there is no pointerup
  };
  const release = () => {
    isHeld = false;
    setTimeout(() => {
      for (const name of heldBack) show(name);
      heldBack.clear();
    }); // after the click
  };
  el.addEventListener("pointerdown", hold);
  for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, release);

  /** Show a part, which Python has escaped or sanitised. @param {string} name */
  function show(name) {
    if (isHeld) return void heldBack.add(name);
    const section = sections[name];
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && section.contains(active) ? active : null;
    if (name === "bar" && focused?.matches("input")) return; // not while somebody types in it
    const attribute = focused && ["data-filter", "data-call", "data-export", "data-sort", "data-page"].find((key) => focused.hasAttribute(key));
    const scrollTop = section.querySelector(".scroll")?.scrollTop ?? 0;
    if (name === "charts") tips.keep(() => setHtml(section, model.get(name)));
    else setHtml(section, model.get(name));
    if (name === "calls") searchRow.hidden = !model.get(name);
    const scroll = section.querySelector(".scroll");
    if (scroll) scroll.scrollTop = scrollTop;
    const replacement = attribute && section.querySelector(`[${attribute}="${CSS.escape(focused?.getAttribute(attribute) ?? "")}"]`);
    if (replacement instanceof HTMLElement) replacement.focus();
  }

  function showNotice(text = "") {
    notice.textContent = text || model.get("problem");
  }

  /** @param {Event} event */
  function onChange(event) {
    const control = event.target;
    if (control === search) return;
    if (!(control instanceof HTMLInputElement || control instanceof HTMLSelectElement)) return;
    ask("filter", { name: control.dataset.filter, value: control.value }, `filter ${control.dataset.filter}`);
  }

  /** @param {Event} event */
  function onClick(event) {
    const button = event.target instanceof Element && event.target.closest("button");
    if (!button) return onRowClick(event);
    if (button.dataset.call) ask("call", { call_id: button.dataset.call }, "call");
    else if (button.dataset.sort) {
      const order = button.closest("th")?.getAttribute("aria-sort");
      // Times, tokens and costs begin with the largest, names with A.
      ask("list", { sort: button.dataset.sort, descending: order ? order === "ascending" : !["model", "status"].includes(button.dataset.sort) });
    } else if (button.dataset.page) ask("list", { page: Number(button.dataset.page) });
    else if (button.dataset.export) ask("export", { format: button.dataset.export });
    else if ("close" in button.dataset) close();
  }

  /** Open the call of a row, unless the click selects text in it. @param {Event} event */
  function onRowClick(event) {
    const button = event.target instanceof Element && event.target.closest("tr")?.querySelector("[data-call]");
    if (!(button instanceof HTMLElement)) return;
    const { call } = button.dataset;
    clearTimeout(rowTimer);
    rowTimer = setTimeout(() => {
      const selection = getSelection();
      if (selection?.isCollapsed ?? true) ask("call", { call_id: call }, "call");
    }, DOUBLE_CLICK_MS);
  }

  function close() {
    const row = sections.calls.querySelector(`[data-call="${CSS.escape(openedCall)}"]`);
    opened.hidden = true;
    opened.replaceChildren();
    if (row instanceof HTMLElement) row.focus();
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.key === "Enter" && event.target instanceof HTMLInputElement) {
      event.preventDefault();
      event.target.blur(); // fires "change", which Enter alone does not without a submit button
      event.target.focus();
    }
    if (event.key === "Escape" && !opened.hidden) {
      event.stopPropagation();
      close();
    }
  }

  /** @param {any} message @param {ArrayBuffer[]} buffers */
  function onMessage(message, buffers) {
    if (message.kind === "ack") commands.acknowledge(message);
    if (message.kind === "call") {
      openedCall = message.call_id;
      setHtml(opened, `<button type="button" data-close aria-label="close">✕</button>${message.html}`);
      for (const block of opened.querySelectorAll("pre")) block.tabIndex = 0; // so that the keyboard can scroll it
      opened.hidden = false;
      opened.querySelector("button")?.focus({ preventScroll: true });
      opened.scrollIntoView({ block: "nearest" });
    }
    if (message.kind === "file") {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(buffers));
      link.download = message.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    }
  }

  const updates = PARTS.map((name) => /** @type {const} */ ([`change:${name}`, () => show(name)]));
  for (const [event, update] of updates) model.on(event, update);
  const onProblem = () => showNotice();
  model.on("change:problem", onProblem);
  model.on("change:search", showSearch);
  model.on("msg:custom", onMessage);
  el.addEventListener("change", onChange);
  el.addEventListener("click", onClick);
  el.addEventListener("keydown", onKey);
  PARTS.forEach(show);
  showSearch();
  showNotice();
  const here = () => document.visibilityState === "visible" && !commands.gone && model.send({ command: "here", view: commands.view });
  here();
  const timer = setInterval(here, HERE_EVERY_MS);

  const releaseKeys = isolateKeys(el);
  return () => {
    releaseKeys();
    for (const end of ["pointerup", "pointercancel"]) window.removeEventListener(end, release);
    clearInterval(timer);
    try {
      model.send({ command: "gone", view: commands.view }); // the last view ends the thread
    } catch {
      // The kernel is gone.
    }
    for (const [event, update] of updates) model.off(event, update);
    clearTimeout(searchTimer);
    clearTimeout(rowTimer);
    model.off("change:problem", onProblem);
    model.off("change:search", showSearch);
    commands.close();
    model.off("msg:custom", onMessage);
  };
}

export default { render };
