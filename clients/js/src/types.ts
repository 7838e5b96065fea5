/** What the client offers. The functions behind it are in `client.ts` and `stream.ts`. */

import type { HeadwaterError } from "./errors.js";
import type { Cursor, Positioned } from "./events.js";
import type { AnswerState } from "./fold.js";

/**
 * When to try again: attempt n waits what the server asked for (`retry:`, `Retry-After`) and a random time up to
 * min(`capMs`, `baseMs` · 2ⁿ⁻¹) ("full jitter"). Attempts count from the last progress, an event or a heartbeat.
 * While the browser is offline nothing is counted.
 */
export interface Backoff {
  /** 500 by default. */
  baseMs?: number;
  /** 15,000 by default. */
  capMs?: number;
  /** How often to try to read a stream on; without end by default, as an EventSource does. */
  maxAttempts?: number;
  /** How often to try to start one, under the same `Idempotency-Key`; 8 by default, which is about half a minute. */
  maxStartAttempts?: number;
}

export interface ClientOptions {
  /** Where the server is; by default the page's own origin. May have a path. */
  baseUrl?: string;
  /** Sent as `Authorization: Bearer`. A function is asked before each request, so that a token may be renewed. */
  apiKey?: string | (() => string | undefined);
  fetch?: typeof fetch;
  backoff?: Backoff;
  /**
   * Let tabs of this origin that follow the same stream with the same key share one connection. Needs
   * BroadcastChannel, Web Locks and a secure context; where one is missing each tab has its own. Off by default.
   */
  share?: boolean;
  /**
   * How long a connection may bring nothing, not even a heartbeat, before it counts as dead. 45,000 by default:
   * three of the server's heartbeats.
   */
  silenceMs?: number;
}

export interface StartOptions {
  /** Any route that answers with `X-Stream-Id`; `/v1/streams` by default. */
  path?: string;
  /** Repeated with the same body it is the same stream, and nothing is generated twice. By default a random one. */
  idempotencyKey?: string;
  /** Aborting disconnects (`done` rejects with the signal's reason); it does not cancel the generation. */
  signal?: AbortSignal;
}

export interface FollowOptions {
  /** Only what comes after this cursor; by default `state.cursor`, else everything. */
  after?: Cursor;
  /** Go on from a state that was kept, in IndexedDB say. */
  state?: AnswerState;
  signal?: AbortSignal;
}

export interface RequestOptions {
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

export interface SubscribeOptions {
  /** Call at most once an animation frame; the end is told at once. */
  frame?: boolean;
}

export interface Connection {
  /** `closed`: at the stream's end, by `close()`, or because of `error`. */
  status: "connecting" | "open" | "reconnecting" | "offline" | "closed";
  /** How many attempts since the last progress; 0 while all is well. */
  attempt: number;
  /** How many events there were when the connection was last resumed; undefined if it never was. */
  resumedAt?: number;
  /** Why the stream was given up: what no reconnect can mend. */
  error?: HeadwaterError;
}

/**
 * One answer, across any number of connections: each event exactly once and in order. It runs from the moment it is
 * made until the stream's end or `close()`, whether or not somebody listens.
 */
export interface AnswerStream extends AsyncIterable<Positioned> {
  /** Known once the server has accepted the stream. */
  readonly id: string | undefined;
  /** Position of the last event received. */
  readonly cursor: Cursor | undefined;
  /** What the events add up to: immutable, a new object for each change. */
  readonly state: AnswerState;
  /** Immutable, a new object for each change. */
  readonly connection: Connection;
  /** Tells each change of `state` and `connection`, once for each read of the network. */
  subscribe(listener: () => void, options?: SubscribeOptions): () => void;
  /**
   * Resolves at the stream's end, also of a failed or cancelled one, and after `close()`. Rejects with a
   * `HeadwaterError` for what no reconnect can mend, and with an aborted signal's reason. Need not be handled.
   */
  readonly done: Promise<AnswerState>;
  /** Stops the generation at the server; what there is of the text stays. Waits for a start that is under way. */
  cancel(): Promise<void>;
  /** Only disconnects: the generation goes on. */
  close(): void;
  /**
   * Events from now on. Leaving the loop closes the stream, unless somebody else listens. After `close()` it ends;
   * for what `done` rejects with, it throws.
   */
  [Symbol.asyncIterator](): AsyncIterator<Positioned>;
}

/** A message as `GET /v1/threads/{thread}/messages` lists it. */
export interface Message {
  id: string;
  thread_id: string;
  parent_id: string | null;
  role: string;
  content: string;
  status: string;
  stream_id: string | null;
  [field: string]: unknown;
}

export interface Asked {
  question: Message;
  answer: Message;
  stream: AnswerStream;
}

export interface Client {
  /** `POST /v1/streams`: a new answer to `body` (a chat completions body), and its events. */
  start(body: Record<string, unknown>, options?: StartOptions): AnswerStream;
  /** `GET /v1/streams/{id}/events`: a stream that exists, from the start or after a cursor, then live. */
  follow(streamId: string, options?: FollowOptions): AnswerStream;
  /** `POST /v1/threads/{thread}/messages`: asks in a conversation, and follows the answer. */
  ask(threadId: string, body: Record<string, unknown>, options?: Omit<StartOptions, "path">): Promise<Asked>;
  /**
   * One request, not repeated. A plain `body` is sent as JSON, a `FormData` as it is. Answers the JSON, the text of
   * another media type, or undefined for 204. Throws `HeadwaterError`, or the signal's reason.
   */
  request<T>(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<T>;
}
