/** One answer as its reader sees it: state, connection, listeners, loops. Where events come from is `Source`'s. */

import { Audience } from "./audience.js";
import { HeadwaterError } from "./errors.js";
import type { Cursor, Positioned } from "./events.js";
import { type Sink, onAbort } from "./follow.js";
import { type AnswerState, applyEvent, emptyAnswer } from "./fold.js";
import type { AnswerStream, Connection, FollowOptions, SubscribeOptions } from "./types.js";

export interface Source {
  /** The id of the stream, which may have to be started first. */
  begin(signal: AbortSignal, tell: Sink["tell"]): Promise<string>;
  read(id: string, sink: Sink, signal: AbortSignal): Promise<void>;
  cancel(id: string): Promise<unknown>;
}

interface Loop {
  /** What it has not taken yet; no more than the answer's own events. */
  items: Positioned[];
  wake(): void;
}

export class Stream implements AnswerStream, Sink {
  id: string | undefined;
  state: AnswerState;
  connection: Connection = { status: "connecting", attempt: 0 };
  readonly done: Promise<AnswerState>;

  readonly #source: Source;
  readonly #started: Promise<string>;
  readonly #leaving = new AbortController();
  readonly #closed = new DOMException("the stream was closed", "AbortError");
  readonly #audience = new Audience();
  readonly #loops = new Set<Loop>();
  #position: Cursor;
  #wasOpen = false;
  #failure: { error: unknown } | undefined;

  constructor(source: Source, options: FollowOptions & { id?: string }) {
    this.#source = source;
    this.id = options.id;
    this.state = options.state ?? emptyAnswer();
    this.#position = options.after ?? this.state.cursor ?? "";
    const { signal } = options;
    const leave = onAbort(signal, () => this.#leaving.abort(signal?.reason));
    this.#started = this.#begin();
    this.done = this.#run().finally(leave);
    this.done.catch(() => {}); // whoever looks at `connection.error` need not look here
  }

  get cursor(): Cursor | undefined {
    return this.#position || undefined;
  }

  /** Bound, for `useSyncExternalStore`. */
  readonly subscribe = (listener: () => void, options: SubscribeOptions = {}): (() => void) =>
    this.#audience.add(listener, options.frame ?? false);

  async cancel(): Promise<void> {
    await this.#source.cancel(await this.#started);
  }

  close(): void {
    this.#leaving.abort(this.#closed);
  }

  [Symbol.asyncIterator](): AsyncGenerator<Positioned> {
    const loop: Loop = { items: [], wake() {} };
    this.#loops.add(loop);
    return this.#drain(loop);
  }

  async *#drain(loop: Loop): AsyncGenerator<Positioned> {
    try {
      for (;;) {
        const { items } = loop;
        loop.items = [];
        yield* items;
        if (items.length) continue;
        if (this.#failure) throw this.#failure.error;
        if (this.connection.status === "closed") return;
        await new Promise<void>((resolve) => {
          loop.wake = resolve;
        });
      }
    } finally {
      this.#loops.delete(loop);
      if (!this.#loops.size && !this.#audience.size) this.close();
    }
  }

  async #begin(): Promise<string> {
    return (this.id ??= await this.#source.begin(this.#leaving.signal, this.tell));
  }

  async #run(): Promise<AnswerState> {
    try {
      const id = await this.#started;
      if (!this.isEnded()) await this.#source.read(id, this, this.#leaving.signal);
      // What it ended in came before the cursor that this reader began after.
      if (!this.isEnded()) this.state = { ...this.state, phase: "done" };
    } catch (error) {
      if (error !== this.#closed) this.#failure = { error };
    }
    this.close();
    const error = this.#failure?.error;
    const status = "closed";
    this.connection = { ...this.connection, status, attempt: 0, ...(error instanceof HeadwaterError && { error }) };
    this.#audience.tell(true);
    for (const loop of this.#loops) loop.wake();
    if (this.#failure) throw error;
    return this.state;
  }

  // What the source tells.

  position(): Cursor {
    return this.#position;
  }

  isEnded(): boolean {
    return this.state.phase !== "waiting" && this.state.phase !== "streaming";
  }

  receive(batch: Positioned[], atMs?: number): void {
    for (const { event, cursor } of batch) {
      this.state = applyEvent(this.state, event, cursor, atMs);
      this.#position = cursor;
    }
    for (const loop of this.#loops) {
      loop.items.push(...batch);
      loop.wake();
    }
    this.#audience.tell();
  }

  readonly tell: Sink["tell"] = (told, attempt) => {
    const before = this.connection;
    const status = told === "reconnecting" && !this.#wasOpen ? "connecting" : told;
    if (status === before.status && attempt === before.attempt) return;
    this.#wasOpen ||= status === "open";
    const { events } = this.state;
    const resumes = status === "open" && before.status !== "open" && events > 0;
    this.connection = { ...before, status, attempt, ...(resumes && { resumedAt: events }) };
    this.#audience.tell();
  };
}
