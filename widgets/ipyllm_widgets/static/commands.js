// Sends a view's commands to the kernel, and notices when the kernel is busy or gone.

/**
 * @typedef {{send: (content: any, callbacks?: any, buffers?: ArrayBuffer[]) => void, get: (name: string) => any,
 *   on: (event: string, callback: (...args: any[]) => void) => void,
 *   off: (event: string, callback: (...args: any[]) => void) => void, widget_manager?: any}} Model
 */

const HINT_AFTER_MS = 700;
const GONE = "The kernel is gone: run the cell again.";
const NOT_CONNECTED = "There is no connection to the kernel. Your text stays here: send it again when the connection is back.";
const ENDED = ["restarting", "autorestarting", "terminating", "dead"]; // statuses of a kernel without our widget

/** Sends commands and waits for their acknowledgements. */
export class Commands {
  /**
   * @param {Model} model
   * @param {(hint: string) => void} onWaiting called with what we are waiting for, and with "" when the wait is over
   * @param {(message: string) => void} [onGone] called once when the kernel is gone
   * @param {(obstacle: string) => void} [onConnected] called when the connection is back, with the `obstacle` that is no more
   */
  constructor(model, onWaiting, onGone = () => {}, onConnected = () => {}) {
    this.model = model;
    this.onWaiting = onWaiting;
    this.onGone = onGone;
    this.onConnected = onConnected;
    this.gone = false;
    this.kernel = model.widget_manager?.kernel; // in JupyterLab and Notebook only
    this.onStatus = (/** @type {any} */ _kernel, /** @type {string} */ status) => ENDED.includes(status) && this.onKernelGone();
    this.kernel?.statusChanged?.connect(this.onStatus);
    this.onConnection = () => this.obstacle || this.onConnected(NOT_CONNECTED);
    this.kernel?.connectionStatusChanged?.connect(this.onConnection);
    this.watch = setInterval(() => this.kernelChanged() && this.onKernelGone(), 1000);
    this.view = Math.random().toString(36).slice(2, 8); // acknowledgements reach every view of the widget
    this.count = 0;
    /** @type {Map<string, {resolve: (error: string | null) => void, timer: any, onText: (text: string, files: File[]) => void}>} */
    this.unacknowledged = new Map();
  }

  /**
   * @param {string} command
   * @param {Record<string, unknown>} [fields]
   * @param {ArrayBuffer[]} [buffers]
   * @param {(text: string, files: File[]) => void} [onText] called with the text that was requested, and its files
   * @returns {Promise<string | null>} the error message, or null
   */
  send(command, fields = {}, buffers = [], onText = () => {}) {
    const nonce = `${this.view}-${++this.count}`;
    if (this.gone) return Promise.resolve(GONE);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.onWaiting(this.waitingFor()), HINT_AFTER_MS);
      this.unacknowledged.set(nonce, { resolve, timer, onText });
      try {
        this.model.send({ command, nonce, ...fields }, undefined, buffers);
      } catch {
        this.acknowledge({ nonce, error: GONE });
      }
    });
  }

  /** Send a command whose outcome nobody waits for. @param {string} command @param {Record<string, unknown>} fields */
  tell(command, fields) {
    if (!this.gone) this.model.send({ command, nonce: "", ...fields });
  }

  /** Why nothing can be sent now, or "". */
  get obstacle() {
    const status = this.kernel?.connectionStatus; // undefined outside JupyterLab and Notebook
    return !this.gone && status && status !== "connected" ? NOT_CONNECTED : "";
  }

  waitingFor() {
    const kernel = this.model.widget_manager?.kernel;
    const status = kernel?.status;
    if (this.gone || ENDED.includes(status) || kernel?.isDisposed) return GONE;
    if (kernel?.connectionStatus && kernel.connectionStatus !== "connected") return "Waiting for the connection to the kernel …";
    return status === "idle" ? "Waiting for the kernel …" : "Waiting for the running cell …";
  }

  /**
   * @param {{nonce?: any, text?: unknown, files?: {name: string, type: string}[]}} message the text that a command of some view requested
   * @param {DataView[]} buffers the contents of the files
   */
  receiveText({ nonce, text, files = [] }, buffers) {
    this.unacknowledged.get(nonce)?.onText(String(text), files.map(({ name, type }, at) => new File([/** @type {any} */ (buffers[at])], name, { type })));
  }

  /** @param {{nonce?: any, error?: string | null}} ack */
  acknowledge({ nonce, error }) {
    const command = this.unacknowledged.get(nonce);
    if (!command) return; // another view's
    clearTimeout(command.timer);
    this.unacknowledged.delete(nonce);
    if (!this.unacknowledged.size) this.onWaiting("");
    command.resolve(error ?? null);
  }

  /** Whether the notebook has another kernel or none. */
  kernelChanged() {
    const current = this.model.widget_manager?.kernel;
    return Boolean(this.kernel) && (this.kernel.isDisposed || current?.id !== this.kernel.id);
  }

  /** Resolve all unacknowledged commands with an error. */
  onKernelGone() {
    if (this.gone) return;
    this.gone = true;
    for (const nonce of [...this.unacknowledged.keys()]) this.acknowledge({ nonce, error: GONE });
    this.onGone(GONE);
  }

  close() {
    clearInterval(this.watch);
    this.kernel?.statusChanged?.disconnect(this.onStatus);
    this.kernel?.connectionStatusChanged?.disconnect(this.onConnection);
    for (const { timer } of this.unacknowledged.values()) clearTimeout(timer);
    this.unacknowledged.clear();
  }
}
