// Shows a widget for a class: unpacks its data, keeps its settings, and tells the kernel where the controls are.

import { Commands } from "../commands.js";
import { h, isolateKeys } from "../dom.js";
import { unpack } from "../unpack.js";

const TELL_AFTER_MS = 250; // of rest

/**
 * @typedef {{element: HTMLElement, show: (settings: any) => void, close?: () => void}} View
 * @param {{ model: import("../commands.js").Model, el: HTMLElement }} context
 * @param {(data: any, change: (settings: Record<string, unknown>) => void) => View} build `change` shows new settings at once
 */
export async function mount({ model, el }, build) {
  el.classList.add("ipyllm-widget", "ipyllm-teaching");
  const notice = h("p", { class: "ipyllm-notice", role: "alert", hidden: true });
  const showNotice = (/** @type {string} */ text) => {
    notice.textContent = text;
    notice.hidden = !text;
  };
  // Nobody waits for the kernel: the page computes by itself, also while a cell runs.
  const commands = new Commands(model, () => {});
  let isClosed = false;
  let timer = 0;
  /** @type {View | undefined} */
  let view;
  let settings = { ...model.get("settings") };
  const tell = async () => showNotice((!commands.gone && (await commands.send("adjust", { settings }))) || "");
  const change = (/** @type {Record<string, unknown>} */ changed) => {
    settings = { ...settings, ...changed };
    view?.show(settings);
    clearTimeout(timer);
    timer = setTimeout(tell, TELL_AFTER_MS);
  };
  const onMessage = (/** @type {any} */ message) => {
    if (message.kind === "ack") commands.acknowledge(message);
    if (message.kind !== "settings") return;
    clearTimeout(timer);
    settings = message.settings;
    view?.show(settings);
  };
  model.on("msg:custom", onMessage);
  const releaseKeys = isolateKeys(el);
  const data = await unpack(model.get("data"));
  if (!isClosed) {
    view = build(data, change);
    el.append(notice, view.element);
    view.show(settings);
  }
  return () => {
    isClosed = true;
    clearTimeout(timer);
    view?.close?.();
    releaseKeys();
    model.off("msg:custom", onMessage);
    commands.close();
  };
}
