// The WebSocket of the page: comes back after a broken connection, and goes on where it broke off.

const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 15_000; // before another attempt
const PING_MS = 20_000, SILENT_MS = 45_000;
const TAKEN_OVER = 4409; // the codes of the server's `socket_handler`
const REFUSED = new Set([TAKEN_OVER, 4400, 4429]);

/**
 * @typedef {{session: string, resumed: boolean, answering: boolean, answers: number}} Hello
 * @typedef {{hello: (message: Hello) => void, message: (message: any) => void, lost: () => void, closed: (reason: string) => void}} Events
 */

/** One chat. `answer` is the number of the answer that is being received, or the next. */
export class ChatConnection {
  /** @param {string} address of the socket @param {Events} events @param {{conversation: string | null, session?: string, answer?: number}} begin */
  constructor(address, events, { conversation, session = "", answer = 0 }) {
    this.address = address;
    this.events = events;
    this.conversation = conversation;
    this.session = session;
    this.answer = answer;
    /** @type {WebSocket | undefined} */
    this.socket = undefined;
    this.wait = FIRST_WAIT_MS;
    this.heardAt = Date.now();
    this.isOpen = false;
    this.isLeft = false;
    /** @type {string[]} */
    this.waiting = [];
    this.open();
  }

  open() {
    const query = new URLSearchParams({ html: "1" });
    if (this.conversation !== null) query.set("conversation", this.conversation);
    if (this.session) {
      query.set("session", this.session);
      query.set("answer", String(this.answer));
      query.set("at", "0"); // blocks of HTML replace what is shown: the server sends those of this answer again
    }
    const socket = (this.socket = new WebSocket(`${this.address}?${query}`));
    socket.onmessage = ({ data }) => this.receive(data);
    socket.onclose = ({ code, reason }) => this.onClose(socket, code, reason);
    this.heardAt = Date.now();
    this.timer = setInterval(() => this.look(), PING_MS);
  }

  /** @param {string} data one message on each line */
  receive(data) {
    this.heardAt = Date.now();
    for (const line of data.split("\n")) {
      const message = JSON.parse(line);
      if (message.type === "session") this.greet(message);
      else if (message.type !== "pong") {
        if (message.type === "answer") this.answer = message.answer;
        if (message.type === "done") this.answer = message.answer + 1;
        this.events.message(message);
      }
    }
  }

  /** @param {Hello} message */
  greet(message) {
    this.wait = FIRST_WAIT_MS;
    this.session = message.session;
    if (!message.resumed) this.answer = message.answers + 1;
    this.isOpen = true;
    this.events.hello(message);
    for (const text of this.waiting.splice(0)) this.socket?.send(text);
  }

  /** Send a message as soon as there is a connection. @param {Record<string, unknown>} message */
  send(message) {
    const text = JSON.stringify(message);
    if (this.isOpen) this.socket?.send(text);
    else this.waiting.push(text);
  }

  /** Say good-bye: the server forgets the session. */
  close() {
    this.isLeft = true;
    clearTimeout(this.retry);
    clearInterval(this.timer);
    this.socket?.close(1000);
  }

  /** Connect anew at once, to have the answer from its beginning. @param {number} answer */
  again(answer) {
    const { socket } = this;
    clearInterval(this.timer);
    this.isOpen = false;
    this.answer = answer;
    this.open(); // so that the socket of before is no longer ours when it closes
    socket?.close(4001);
  }

  look() {
    if (Date.now() - (this.heardAt ?? 0) > SILENT_MS) this.socket?.close(4000, "silent");
    else if (this.isOpen) this.socket?.send('{"type":"ping"}');
  }

  /** @param {WebSocket} socket @param {number} code @param {string} reason */
  onClose(socket, code, reason) {
    if (this.isLeft || socket !== this.socket) return;
    clearInterval(this.timer);
    this.isOpen = false;
    if (REFUSED.has(code)) {
      this.isLeft = true;
      this.events.closed(code === TAKEN_OVER ? "This chat goes on in another window. Reload the page to have it here." : reason);
      return;
    }
    this.events.lost();
    this.retry = setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
  }
}
