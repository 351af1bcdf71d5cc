// A client of alien-rpc's protocol, written from its description: what the first program to speak it
// besides alien-rpc's own would be.
import { once } from "node:events";
import WebSocketOfNode from "ws";
import { within } from "../support.mjs";

const PATIENCE = 15_000;

/** An error that the server answered with. */
export class CallFailed extends Error {
  constructor({ code, message, data }) {
    super(message);
    Object.assign(this, { code, data });
  }
}

/** The end of a connection with calls that nobody answered. */
export class ConnectionLost extends Error {}

export class Client {
  #url;
  #options;
  #socket;
  #id = 0;
  /** By id: what becomes of a frame. */
  #pending = new Map();
  #timer;
  /** Every frame in both directions, as it was. */
  log = [];
  pongs = 0;

  /** `ping`: milliseconds of silence, with something pending, until the server is pinged. */
  constructor(url, { ping = 20_000, headers } = {}) {
    this.#url = url;
    this.#options = { ping, headers };
  }

  /** The socket that is open, or a new one on which ids begin at 1 again. */
  async socket() {
    if (!this.#socket || this.#socket.readyState > 1) {
      const options = { headers: this.#options.headers, perMessageDeflate: false };
      const socket = new WebSocketOfNode(this.#url, options);
      this.#socket = socket;
      this.#id = 0;
      socket.on("message", data => this.#receive(data.toString()));
      socket.on("close", () => this.#lost());
      socket.on("error", () => {});
    }
    const socket = this.#socket;
    if (socket.readyState === 0) await within(PATIENCE, `connecting to ${this.#url}`, once(socket, "open"));
    return socket;
  }

  async notify(method, ...params) {
    this.#send(await this.socket(), { method, params });
  }

  /** The answer; `signal` aborts. */
  async call(method, params = [], { signal } = {}) {
    const socket = await this.socket();
    signal?.throwIfAborted();
    const id = ++this.#id;
    return within(
      PATIENCE,
      `${method} ${id}`,
      new Promise((resolve, reject) => {
        this.#pending.set(id, frame => {
          this.#pending.delete(id);
          if (frame instanceof Error) reject(frame);
          else if ("error" in frame) reject(new CallFailed(frame.error));
          else resolve(frame.result);
        });
        signal?.addEventListener("abort", () => {
          if (!this.#pending.delete(id)) return;
          this.#send(socket, { method: ".cancel", params: [id] });
          reject(signal.reason);
        });
        this.#send(socket, { method, params, id });
      }),
    );
  }

  /** The items of a stream; leaving the loop cancels it. */
  async *subscribe(method, ...params) {
    const socket = await this.socket();
    const id = ++this.#id;
    const frames = [];
    let arrived = () => {};
    this.#pending.set(id, frame => {
      frames.push(frame);
      arrived();
    });
    this.#send(socket, { method, params, id });
    try {
      for (;;) {
        while (frames.length === 0) {
          await within(PATIENCE, `an item of ${method}`, new Promise(resolve => (arrived = resolve)));
        }
        const frame = frames.shift();
        if (frame instanceof Error || "error" in frame || "close" in frame) this.#pending.delete(id);
        if (frame instanceof Error) throw frame;
        if ("error" in frame) throw new CallFailed(frame.error);
        if ("close" in frame) return;
        yield frame.result;
      }
    } finally {
      if (this.#pending.delete(id)) this.#send(socket, { method: ".cancel", params: [id] });
    }
  }

  /** Closes without a code, as clients do. */
  async close() {
    if (!this.#socket || this.#socket.readyState > 1) return undefined;
    const closed = once(this.#socket, "close");
    this.#socket.close();
    const [code] = await within(PATIENCE, "the close", closed);
    return code;
  }

  #send(socket, frame) {
    const text = JSON.stringify(frame);
    this.log.push(`> ${text}`);
    socket.send(text);
    this.#listen();
  }

  #receive(text) {
    this.log.push(`< ${text}`);
    const frame = JSON.parse(text);
    if (frame.pong) this.pongs++;
    else this.#pending.get(frame.id)?.(frame);
    this.#listen();
  }

  /** Begins to count the silence anew. */
  #listen() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#timer = setTimeout(() => {
      if (socket.readyState === 1 && this.#pending.size > 0) this.#send(socket, { method: ".ping" });
    }, this.#options.ping);
  }

  #lost() {
    clearTimeout(this.#timer);
    for (const settle of [...this.#pending.values()]) settle(new ConnectionLost("the connection has ended"));
  }
}
