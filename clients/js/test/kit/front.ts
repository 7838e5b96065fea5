/** In front of the real server: pages of its origin, connections that can be counted and cut, and a way to restart it. */

import { type IncomingMessage, type Server, type ServerResponse, createServer, request } from "node:http";
import { type AddressInfo, connect } from "node:net";

/** Set by tests/integration/test_js_client.py, which starts server and upstream. */
export const SERVER = process.env["HEADWATER_URL"];
/** A port that takes `restart`, `kill` or `start` as a line, and answers one when that is done. */
const CONTROL = process.env["HEADWATER_CONTROL"];

export class Front {
  /** Event streams that are open now, and how many there ever were. */
  readonly streams = new Set<ServerResponse>();
  opened = 0;
  /** Refuses every connection, as without a network. */
  isDown = false;
  readonly #server: Server;
  url = "";

  constructor(readonly files: Record<string, [type: string, text: string]> = {}) {
    this.#server = createServer((asked, reply) => this.#answer(asked, reply));
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Every socket, in mid-frame where that is. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  #answer(asked: IncomingMessage, reply: ServerResponse): void {
    const path = asked.url ?? "/";
    const file = this.files[path.split("?")[0]!];
    if (file) {
      reply.writeHead(200, { "content-type": file[0] }).end(file[1]);
      return;
    }
    if (this.isDown) {
      asked.socket.destroy();
      return;
    }
    const onwards = request(SERVER + path, { method: asked.method!, headers: asked.headers }, (answer) => {
      reply.writeHead(answer.statusCode!, answer.headers);
      if (answer.headers["content-type"]?.startsWith("text/event-stream")) {
        this.streams.add(reply);
        this.opened++;
      }
      answer.on("data", (bytes) => reply.write(bytes));
      answer.on("end", () => reply.end());
      answer.on("error", () => reply.destroy());
    });
    onwards.on("error", () => reply.destroy());
    reply.on("close", () => {
      this.streams.delete(reply);
      onwards.destroy();
    });
    asked.pipe(onwards);
  }
}

export function control(command: "restart" | "kill" | "start"): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(CONTROL), "127.0.0.1", () => socket.write(`${command}\n`));
    socket.on("data", () => {
      socket.end();
      resolve();
    });
    socket.on("error", reject);
  });
}

/** The content of a question that tells the scripted upstream how to answer. */
export const scripted = (script: object): string => JSON.stringify({ script });

export const body = (script: object, model = "scripted"): Record<string, unknown> => ({
  model,
  messages: [{ role: "user", content: scripted(script) }],
});
