// The line that says what an answer waits for, with a clock that runs on between the kernel's messages.

/**
 * @typedef {{before: string, seconds: number, step: number, after: string}} Waiting what the kernel says, and what its clock showed then
 */

export class WaitingLine {
  constructor() {
    /** @type {Waiting | null} */
    this.waiting = null;
    this.receivedAt = 0;
    this.announcement = "";
  }

  /** @param {Waiting | null} waiting as in the last message */
  update(waiting) {
    if (waiting === this.waiting) return;
    const isNew = waiting?.before !== this.waiting?.before || waiting?.after !== this.waiting?.after;
    this.waiting = waiting;
    this.receivedAt = performance.now();
    // Screen readers are told once what it waits for, not each second.
    if (isNew) this.announcement = waiting && waiting.step < 0 ? this.text(this.receivedAt) : (waiting?.before ?? "").replace(/[\s·]+$/, "");
  }

  /** @param {number} now as `performance.now()` @returns {string} the line, empty if nothing is known */
  text(now) {
    if (!this.waiting) return "";
    const { before, seconds, step, after } = this.waiting;
    const shown = Math.max(0, seconds + (step * (now - this.receivedAt)) / 1000);
    return `${before}${step < 0 ? Math.ceil(shown) : Math.floor(shown)}${after}`;
  }
}
