// The line that says what an answer waits for, with a clock that runs on between the kernel's messages.

/**
 * @typedef {{before: string, seconds: number, step: number, after: string}} Waiting what the kernel says, and what its clock showed then
 */

export class WaitingLine {
  constructor() {
    /** @type {Waiting | null} */
    this.waiting = null;
    this.receivedAt = 0;
  }

  /** @param {Waiting | null} waiting as in the last message */
  update(waiting) {
    if (waiting === this.waiting) return;
    this.waiting = waiting;
    this.receivedAt = performance.now();
  }

  /** @param {number} now as `performance.now()` @returns {string} the line, empty if nothing is known */
  text(now) {
    if (!this.waiting) return "";
    const { before, seconds, step, after } = this.waiting;
    const shown = Math.max(0, seconds + (step * (now - this.receivedAt)) / 1000);
    return `${before}${step < 0 ? Math.ceil(shown) : Math.floor(shown)}${after}`;
  }
}
