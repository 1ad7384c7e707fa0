// What a view asks of the kernel, and how it learns that the kernel does not listen just now.

/**
 * @typedef {{send: (content: any, callbacks?: any, buffers?: ArrayBuffer[]) => void, get: (name: string) => any,
 *   on: (event: string, callback: (...args: any[]) => void) => void,
 *   off: (event: string, callback: (...args: any[]) => void) => void, widget_manager?: any}} Model
 */

const PATIENCE_MS = 700;
const GONE = "The kernel is gone: run the cell again.";
const ENDS = ["restarting", "autorestarting", "terminating", "dead"]; // of the kernel that our widget lived in

/** Sends commands and waits for their answers. */
export class Commands {
  /**
   * @param {Model} model
   * @param {(hint: string) => void} onWaiting told what we wait for, and "" when we do not
   * @param {(sentence: string) => void} [onGone] told once that the kernel is gone, and with it whatever was running
   */
  constructor(model, onWaiting, onGone = () => {}) {
    this.model = model;
    this.onWaiting = onWaiting;
    this.onGone = onGone;
    this.gone = false;
    this.kernel = model.widget_manager?.kernel; // JupyterLab's and Notebook's; elsewhere nobody tells
    this.onStatus = (/** @type {any} */ _kernel, /** @type {string} */ status) => ENDS.includes(status) && this.lose();
    this.kernel?.statusChanged?.connect(this.onStatus);
    this.watch = setInterval(() => this.isElsewhere() && this.lose(), 1000);
    this.view = Math.random().toString(36).slice(2, 8); // answers reach every view of the widget
    this.count = 0;
    /** @type {Map<string, {answered: (error: string | null) => void, timer: any}>} */
    this.open = new Map();
  }

  /**
   * @param {string} command
   * @param {Record<string, unknown>} [fields]
   * @param {ArrayBuffer[]} [buffers]
   * @returns {Promise<string | null>} the sentence that says what was wrong, or null
   */
  send(command, fields = {}, buffers = []) {
    const nonce = `${this.view}-${++this.count}`;
    if (this.gone) return Promise.resolve(GONE);
    return new Promise((answered) => {
      const timer = setTimeout(() => this.onWaiting(this.whyNot()), PATIENCE_MS);
      this.open.set(nonce, { answered, timer });
      try {
        this.model.send({ command, nonce, ...fields }, undefined, buffers);
      } catch {
        this.answer({ nonce, error: GONE });
      }
    });
  }

  whyNot() {
    const kernel = this.model.widget_manager?.kernel;
    const status = kernel?.status;
    if (this.gone || ENDS.includes(status) || kernel?.isDisposed) return GONE;
    if (kernel?.connectionStatus && kernel.connectionStatus !== "connected") return "Waiting for the connection to the kernel …";
    return status === "idle" ? "Waiting for the kernel …" : "Waiting for the running cell …";
  }

  /** @param {{nonce?: any, error?: string | null}} ack */
  answer({ nonce, error }) {
    const command = this.open.get(nonce);
    if (!command) return; // another view's
    clearTimeout(command.timer);
    this.open.delete(nonce);
    if (!this.open.size) this.onWaiting("");
    command.answered(error ?? null);
  }

  /** Whether the notebook has another kernel now, or none. */
  isElsewhere() {
    const now = this.model.widget_manager?.kernel;
    return Boolean(this.kernel) && (this.kernel.isDisposed || now?.id !== this.kernel.id);
  }

  /** No answer can come any more: say so to whoever waits for one. */
  lose() {
    if (this.gone) return;
    this.gone = true;
    for (const nonce of [...this.open.keys()]) this.answer({ nonce, error: GONE });
    this.onGone(GONE);
  }

  close() {
    clearInterval(this.watch);
    this.kernel?.statusChanged?.disconnect(this.onStatus);
    for (const { timer } of this.open.values()) clearTimeout(timer);
    this.open.clear();
  }
}
