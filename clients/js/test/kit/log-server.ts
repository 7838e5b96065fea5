/** A stream's log behind a `fetch`, for tests that must cut at a certain byte. Answers as Headwater does. */

import type { Cursor, Positioned, StreamEvent } from "../../src/index.js";

const encoder = new TextEncoder();

export interface Request {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: unknown;
}

export interface LogServerOptions {
  /** Bytes that a connection brings before it breaks, one number a connection; those without one stay whole. */
  cuts?: number[];
  /** Sizes of the pieces that bytes come in, in turn; by default each connection's bytes come at once. */
  pieces?: number[];
}

export class LogServer {
  readonly requests: Request[] = [];
  /** In place of the answers to come, one a request; undefined answers as usual. */
  readonly answers: (((init: RequestInit) => Response | Promise<Response>) | undefined)[] = [];
  /** Connections that read events now. */
  open = 0;
  epoch = 1;
  /** Where `fetch` fails, as without a network. */
  isDown = false;
  events: StreamEvent[] = [];
  readonly #bodies = new Set<Body>();

  constructor(
    events: StreamEvent[] = [],
    readonly options: LogServerOptions = {},
  ) {
    this.events = [...events];
  }

  /** Of an event by its place. */
  cursor(seq: number): Cursor {
    return `${this.epoch}.${seq}`;
  }

  append(...events: StreamEvent[]): void {
    this.events.push(...events);
    for (const body of this.#bodies) body.pump();
  }

  /** To every connection: a comment, or other bytes. */
  send(text: string): void {
    for (const body of this.#bodies) body.send(text);
  }

  /** Breaks all connections, or ends them cleanly. */
  cut(isClean = false): void {
    for (const body of this.#bodies) body.break(isClean);
  }

  get cursors(): (Cursor | null)[] {
    const reads = this.requests.filter(({ method }) => method === "GET");
    return reads.map(({ path }) => new URL(path, "http://x").searchParams.get("after"));
  }

  readonly fetch: typeof globalThis.fetch = async (input, init = {}) => {
    init.signal?.throwIfAborted();
    const { pathname, search } = new URL(String(input), "http://log");
    const headers = Object.fromEntries(new Headers(init.headers));
    const body: unknown = typeof init.body === "string" ? JSON.parse(init.body) : init.body;
    this.requests.push({ method: init.method ?? "GET", path: pathname + search, headers, body });
    if (this.isDown) throw new TypeError("fetch failed");
    const answer = this.answers.shift();
    if (answer) return answer(init);
    if (init.method === "GET") return this.#read(new URLSearchParams(search).get("after"), init.signal ?? null);
    if (pathname.endsWith("/cancel")) {
      if (!this.isEnded) this.append({ type: "done", reason: "cancelled" });
      return Response.json({});
    }
    return new Response("{}", { status: 201, headers: { "x-stream-id": "s-1" } });
  };

  get isEnded(): boolean {
    const last = this.events.at(-1)?.type;
    return last === "done" || last === "error";
  }

  positioned(from = 0): Positioned[] {
    return this.events.slice(from).map((event, at) => ({ event, cursor: this.cursor(from + at) }));
  }

  #read(after: Cursor | null, signal: AbortSignal | null): Response {
    const [epoch, seq] = (after ?? `${this.epoch}.-1`).split(".").map(Number);
    const isKnown = epoch === this.epoch && seq! < this.events.length;
    if (isKnown && this.isEnded && seq === this.events.length - 1) return new Response(null, { status: 204 });
    const head = isKnown ? "" : 'event: reset\ndata: {"type":"reset","reason":"unknown"}\n\n';
    const body = new Body(this, isKnown ? seq! + 1 : 0, head, signal);
    this.#bodies.add(body);
    this.open++;
    body.onEnd = () => {
      if (this.#bodies.delete(body)) this.open--;
    };
    return new Response(body.stream, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  }
}

class Body {
  readonly stream: ReadableStream<Uint8Array>;
  onEnd = (): void => {};
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #left: number;
  #turn = 0;
  #isOver = false;

  constructor(
    readonly log: LogServer,
    private next: number,
    head: string,
    signal: AbortSignal | null,
  ) {
    this.#left = log.options.cuts?.shift() ?? Infinity;
    this.stream = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
        // After this turn, so that `onEnd` is known.
        queueMicrotask(() => {
          if (head) this.send(head);
          this.pump();
        });
      },
      cancel: () => this.#over(),
    });
    signal?.addEventListener("abort", () => this.break(false, signal.reason));
  }

  pump(): void {
    let text = "";
    for (; this.next < this.log.events.length; this.next++) {
      const event = this.log.events[this.next]!;
      text += `event: ${event.type}\nid: ${this.log.cursor(this.next)}\ndata: ${JSON.stringify(event)}\n\n`;
    }
    if (text) this.send(text);
    if (this.log.isEnded) this.break(true);
  }

  send(text: string): void {
    let bytes = encoder.encode(text);
    const isCut = bytes.length >= this.#left;
    bytes = bytes.subarray(0, this.#left);
    this.#left -= bytes.length;
    const sizes = this.log.options.pieces;
    while (bytes.length && !this.#isOver) {
      const size = sizes?.length ? sizes[this.#turn++ % sizes.length]! : bytes.length;
      this.#controller.enqueue(bytes.slice(0, size));
      bytes = bytes.subarray(size);
    }
    // A clean end, after which what was sent is still read: errors drop what waits.
    if (isCut) this.break(true);
  }

  break(isClean: boolean, reason: unknown = new TypeError("terminated")): void {
    if (this.#isOver) return;
    this.#over();
    if (isClean) this.#controller.close();
    else this.#controller.error(reason);
  }

  #over(): void {
    this.#isOver = true;
    this.onEnd();
  }
}
