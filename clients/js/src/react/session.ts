/**
 * What `useAIStream` does, without React: one answer at a time, as snapshots, and callbacks that are called once.
 *
 * React's strict mode mounts, unmounts and mounts again in one go. So leaving takes effect, and a start is sent, only
 * after what runs now: what is begun twice in a row is asked once, and a stream outlives the rehearsal.
 */

import { call } from "../audience.js";
import { HeadwaterError } from "../errors.js";
import type { Cursor, Failed } from "../events.js";
import { type AnswerState, emptyAnswer } from "../fold.js";
import type { AnswerStream, Client, Connection } from "../types.js";

const PATH = "/api/ai-chat/stream";

export interface AIStreamMessage {
  role: string;
  content: string;
}

/** The body of `POST /api/ai-chat/stream`. */
export interface AIStreamRequest {
  message: string;
  history?: AIStreamMessage[];
  sessionId?: string;
  workspaceId?: string;
  projectId?: string;
  currentOrganizationId?: string;
  model?: string;
  temperature?: number;
  maxTokens?: number;
}

export interface Callbacks {
  /** Each piece of the answer's text; pieces that were missed come merged. */
  onChunk?: ((chunk: string) => void) | undefined;
  /** Once, with the whole text; not for an answer that was stopped or failed. */
  onComplete?: ((fullText: string) => void) | undefined;
  /** `error`: the stream's own last event, or why it could not be had. */
  onError?: ((message: string, error: Failed | HeadwaterError) => void) | undefined;
  /** What came through `onChunk` does not count any more; the whole answer follows. */
  onReset?: (() => void) | undefined;
}

export interface Snapshot {
  state: AnswerState;
  connection: Connection;
  streamId: string | undefined;
  isStreaming: boolean;
  error: string | null;
}

export const IDLE: Snapshot = {
  state: emptyAnswer(),
  connection: { status: "closed", attempt: 0 },
  streamId: undefined,
  isStreaming: false,
  error: null,
};

export class Session {
  snapshot = IDLE;
  #callbacks: Callbacks = {};
  readonly #listeners = new Set<() => void>();
  #stream: AnswerStream | undefined;
  /** Counts answers, so that what comes late from an earlier one is told apart. */
  #turn = 0;
  #isMounted = false;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** Whom to call from now on. */
  tell(callbacks: Callbacks): void {
    this.#callbacks = callbacks;
  }

  /** Returns the way to unmount. */
  mount(): () => void {
    this.#isMounted = true;
    return () => {
      this.#isMounted = false;
      queueMicrotask(() => {
        if (!this.#isMounted) this.#leave();
      });
    };
  }

  start(client: Client, request: AIStreamRequest): Promise<void> {
    return this.#open(emptyAnswer(), undefined, () => client.start({ ...request }, { path: PATH }));
  }

  /** Without an id, the stream that there was, from where it stands. */
  resume(client: Client, id?: string, after?: Cursor): Promise<void> {
    const { streamId, state } = this.snapshot;
    if (id) return this.#open(emptyAnswer(), id, () => client.follow(id, after ? { after } : {}));
    if (streamId) return this.#open(state, streamId, () => client.follow(streamId, { state }));
    return Promise.reject(new TypeError("there is no stream to resume"));
  }

  async stop(): Promise<void> {
    const turn = this.#turn;
    // A start that is not sent yet is sent with what runs now.
    await Promise.resolve();
    try {
      await this.#stream?.cancel();
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    }
  }

  reset(): void {
    this.#leave();
    this.#show(IDLE);
  }

  #leave(): void {
    this.#turn++;
    this.#stream?.close();
    this.#stream = undefined;
  }

  async #open(state: AnswerState, streamId: string | undefined, open: () => AnswerStream): Promise<void> {
    this.#leave();
    const turn = this.#turn;
    this.#show({ state, streamId, isStreaming: true, error: null, connection: { status: "connecting", attempt: 0 } });
    await Promise.resolve();
    if (turn !== this.#turn) return;
    const stream = (this.#stream = open());
    const stop = stream.subscribe(() => this.#follow(stream), { frame: true });
    try {
      for await (const { event } of stream) {
        if (turn !== this.#turn) return;
        const { onChunk, onReset } = this.#callbacks;
        if (event.type === "text" && !event.choice) call(() => onChunk?.(event.text));
        else if (event.type === "reset") call(() => onReset?.());
      }
      if (turn === this.#turn) this.#finish(stream);
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    } finally {
      stop();
    }
  }

  #finish(stream: AnswerStream): void {
    this.#follow(stream);
    const { phase, text, error } = stream.state;
    if (error) this.#fail(error);
    else if (phase === "done") call(() => this.#callbacks.onComplete?.(text));
  }

  #fail(error: unknown): void {
    const known = error as Failed | HeadwaterError;
    this.#show({ ...this.snapshot, error: known.message });
    call(() => this.#callbacks.onError?.(known.message, known));
  }

  #follow(stream: AnswerStream): void {
    if (stream !== this.#stream) return;
    const { state, connection, id } = stream;
    this.#show({ ...this.snapshot, state, connection, streamId: id, isStreaming: connection.status !== "closed" });
  }

  #show(snapshot: Snapshot): void {
    this.snapshot = snapshot;
    for (const listener of this.#listeners) listener();
  }
}
