/**
 * The events of one stream over connections of its own: read, cut, resumed after the cursor, until the stream's end.
 *
 * Knows nothing of state or of other tabs: both are behind `Sink`.
 */

import { onWake } from "./awareness.js";
import { attempts } from "./backoff.js";
import { HeadwaterError, isRetryable, lost, tooLarge, unexpected } from "./errors.js";
import type { Cursor, Positioned, StreamEvent } from "./events.js";
import { type Http, recordOf } from "./http.js";
import { createParser } from "./parser.js";
import type { Backoff, Connection } from "./types.js";

/** Where events go. Each batch continues at `position()`. */
export interface Sink {
  position(): Cursor;
  /**
   * `atMs`: when they were made, as far as that is known: not for what the server had kept. Without events it says
   * that the connection is alive.
   */
  receive(batch: Positioned[], atMs?: number): void;
  isEnded(): boolean;
  /** How the connection is. Called without its object. */
  readonly tell: (status: Connection["status"], attempt: number) => void;
}

const LISTEN_MS = 1000;

export interface Reading {
  http: Http;
  id: string;
  backoff: Backoff;
  silenceMs: number;
  /** Whether the stream was started just now, so that what it has is new. */
  fresh: boolean;
}

/** What `signal` ends, ends with its reason. Returns the way to let go of it. */
export function onAbort(signal: AbortSignal | undefined, leave: () => void): () => void {
  signal?.addEventListener("abort", leave);
  if (signal?.aborted) leave();
  return () => signal?.removeEventListener("abort", leave);
}

export const streamPath = (id: string, rest = ""): string => `/v1/streams/${encodeURIComponent(id)}${rest}`;

/** Until the stream's end. Throws `HeadwaterError` for what no reconnect can mend, and the signal's reason. */
export async function follow(reading: Reading, sink: Sink, signal: AbortSignal): Promise<void> {
  const tries = attempts(reading.backoff, reading.backoff.maxAttempts ?? Infinity, sink.tell);
  let { fresh } = reading;
  for (;;) {
    let failure = new HeadwaterError("connection_lost", "the server closed the connection before the stream's end");
    try {
      if (await connect({ ...reading, fresh }, sink, signal, tries)) return;
    } catch (error) {
      signal.throwIfAborted();
      if (!isRetryable(error)) throw error;
      failure = error;
    }
    fresh = false;
    await tries.wait(failure, signal);
  }
}

/** One connection, until it is cut (false) or the stream ends (true). */
async function connect(
  { http, id, silenceMs, fresh }: Reading,
  sink: Sink,
  signal: AbortSignal,
  tries: ReturnType<typeof attempts>,
): Promise<boolean> {
  const line = new AbortController();
  const cut = (message: string): void => line.abort(new HeadwaterError("connection_lost", message));
  let heardMs = Date.now();
  // By the clock on the wall: timers stand still while a laptop sleeps, and its connections are dead afterwards.
  const watchdog = setInterval(() => Date.now() - heardMs > silenceMs && cut("the server fell silent"), LISTEN_MS);
  // Without a network a connection may hang for long. If the server can still be reached, little is lost by asking.
  const stop = onWake((what) => what === "offline" && cut("the network is gone"));
  const leave = onAbort(signal, () => line.abort(signal.reason));
  try {
    const after = sink.position();
    const path = streamPath(id, `/events${after && `?after=${encodeURIComponent(after)}`}`);
    const headers = { accept: "text/event-stream" };
    const response = await http.send("GET", path, undefined, { headers, signal: line.signal });
    if (response.status === 204) return true;
    if (!response.headers.get("content-type")?.startsWith("text/event-stream"))
      throw unexpected("sent no event stream");
    sink.tell("open", 0);
    const read = reader(sink, tries);
    for await (const text of texts(response, line.signal)) {
      heardMs = Date.now();
      read(text, fresh ? heardMs : undefined);
      if (sink.isEnded()) return true;
      fresh = true; // What the server had kept came in the first piece.
    }
    return false;
  } finally {
    clearInterval(watchdog);
    stop();
    leave();
    line.abort(); // the body, where it is left early
  }
}

/** The text of a body as it comes. Throws the signal's reason, also where `fetch` does not know the signal. */
export async function* texts(response: Response, signal?: AbortSignal): AsyncGenerator<string> {
  const reader = response.body?.getReader();
  const leave = onAbort(signal, () => void reader?.cancel().catch(() => {}));
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  try {
    while (reader) {
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw lost(error);
  } finally {
    leave();
    reader?.cancel().catch(() => {});
  }
}

/** Takes the text of a body, and hands its events on: one read, one batch. */
function reader(sink: Sink, tries: ReturnType<typeof attempts>): (text: string, atMs?: number) => void {
  let batch: Positioned[] = [];
  let alive = false;
  const parser = createParser({
    onEvent({ data, id }) {
      const event = recordOf(data) as unknown as StreamEvent;
      batch.push({ event, cursor: event.type === "reset" ? "" : id });
    },
    onRetry: (ms) => {
      tries.retryMs = ms;
    },
    onComment: () => {
      alive = true;
    },
    onError: tooLarge,
  });
  return (text, atMs) => {
    try {
      parser.feed(text);
    } finally {
      if (batch.length || alive) {
        tries.progress();
        sink.receive(batch, atMs);
      }
      batch = [];
      alive = false;
    }
  };
}
