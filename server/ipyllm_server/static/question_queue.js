// The questions that wait until the answer that the page shows has ended; they outlive a reload.

import { QueueView } from "./queue.js";
import { tabMemory } from "./tab_memory.js";

const SHOWN_CHARS = 300;

/** The queue of the conversation that is shown. */
export class QuestionQueue {
  /** @param {{conversation: () => string | null, isIdle: () => boolean, send: (text: string) => void, takeBack: (text: string) => void}} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {string[]} */
    this.texts = [];
    this.isHeld = false; // until the user sends the next one
    this.view = new QueueView({
      takeBack: (at) => {
        const [text] = this.texts.splice(Number(at), 1);
        this.changed();
        actions.takeBack(text);
      },
      sendNext: () => this.sendNext(),
    });
    this.element = this.view.element;
  }

  /** Show the questions of the conversation that is shown now. */
  load() {
    this.texts = tabMemory.queue(this.actions.conversation());
    this.isHeld = false;
    this.draw();
  }

  /** @param {string} text */
  add(text) {
    this.texts.push(text);
    this.changed();
  }

  /** Send the first question, if one waits. */
  sendNext() {
    const text = this.texts.shift();
    this.isHeld = false;
    this.changed();
    if (text !== undefined) this.actions.send(text);
  }

  /** Let the user decide: the last answer failed, was stopped or is unknown. */
  hold() {
    this.isHeld = true;
    this.draw();
  }

  changed() {
    tabMemory.setQueue(this.actions.conversation(), this.texts);
    this.draw();
  }

  draw() {
    this.view.update(this.texts.map((text, at) => ({ id: String(at), text: text.slice(0, SHOWN_CHARS), images: 0, files: 0, held: this.isHeld })), this.actions.isIdle());
  }
}
