/**
 * One connection for all tabs that follow the same stream, because a browser opens no more than six to an origin over
 * HTTP/1.1, and the seventh tab would hang.
 *
 * Whoever holds the Web Lock of the stream leads: it reads, and passes each batch on with the cursor before it. The
 * others follow: what continues exactly at their own cursor they take, anything else they leave. Who is behind, or
 * hears nothing, reads by a connection of its own until what is passed on continues at its cursor. When the leader
 * goes, the lock goes to the next one, which reads on after its own cursor. So no order of joining, leaving and
 * losing can lose or repeat an event: cursors decide, and messages that come late or twice match none.
 */

import type { Cursor, Positioned } from "./events.js";
import { type Sink, onAbort } from "./follow.js";
import type { Connection } from "./types.js";

/** How long a word from tab to tab may take. A leader answers at once, unless its tab is frozen. */
const WORD_MS = 500;

/** From the leader: what it received after a cursor, or only where it is. `undefined` is the question of who joins. */
interface Note {
  after: Cursor;
  batch: Positioned[];
  atMs: number | undefined;
  status: Connection["status"];
  attempt: number;
}

type Read = (sink: Sink, signal: AbortSignal) => Promise<void>;

/** The name of what is shared, or undefined where this browser cannot share. The key is in it only as a hash. */
export async function sharedName(identity: string, id: string): Promise<string | undefined> {
  const { BroadcastChannel, crypto, navigator } = globalThis;
  if (!BroadcastChannel || !crypto?.subtle || !navigator?.locks) return undefined;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${identity} ${id}`));
  return `headwater ${[...new Uint8Array(digest)].join(".")}`;
}

/** As `read` does, until the stream's end, by this tab's connection or another's. */
export async function followShared(
  name: string,
  read: Read,
  sink: Sink,
  signal: AbortSignal,
  silenceMs: number,
): Promise<void> {
  const over = new AbortController();
  const tab = new Tab(name, read, sink, signal);
  const watchdog = setInterval(() => tab.listen(silenceMs), WORD_MS);
  navigator.locks.request(name, { signal: over.signal }, () => tab.lead()).catch(() => {}); // over before its turn
  try {
    await tab.ended;
  } finally {
    clearInterval(watchdog);
    over.abort();
    tab.close();
  }
}

class Tab {
  /** Throws what reading throws, and the signal's reason. */
  readonly ended: Promise<void>;
  readonly #channel: BroadcastChannel;
  #resolve!: () => void;
  #reject!: (reason: unknown) => void;
  #leads = false;
  /** Of this tab's own connection, where it has one. */
  #own: AbortController | undefined;
  #leaderAt: Cursor | undefined;
  #heardMs = Date.now();
  #status: Connection["status"] = "connecting";
  #attempt = 0;

  constructor(
    name: string,
    readonly read: Read,
    readonly sink: Sink,
    readonly signal: AbortSignal,
  ) {
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    onAbort(signal, () => this.#reject(signal.reason));
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Note | undefined>) => this.#hear(data);
    this.#channel.postMessage(undefined);
  }

  /** Holds the lock until all is over here; a tab that is closed lets go of it, too. */
  async lead(): Promise<void> {
    this.#leads = true;
    this.#pass(this.sink.position());
    this.#readMyself();
    await this.ended.catch(() => {});
    // The last word may be slower than the lock. Whoever had the lock first would ask for what is on its way.
    if (this.sink.isEnded()) await new Promise((resolve) => setTimeout(resolve, WORD_MS));
    this.#channel.close();
  }

  /** Without a word from a leader for so long, reads by a connection of its own. */
  listen(silenceMs: number): void {
    const patienceMs = this.#leaderAt === undefined ? WORD_MS : silenceMs;
    if (!this.#leads && Date.now() - this.#heardMs >= patienceMs) this.#readMyself();
  }

  close(): void {
    this.#own?.abort();
    if (!this.#leads) this.#channel.close();
  }

  #readMyself(): void {
    if (this.#own || this.signal.aborted) return;
    this.#own = new AbortController();
    const { signal } = this.#own;
    this.read(this.#reader(signal), signal).then(this.#resolve, (error: unknown) => {
      if (!signal.aborted) this.#reject(error);
    });
  }

  /** Where the own connection brings its events; deaf once it is given up. */
  #reader(signal: AbortSignal): Sink {
    const { sink } = this;
    return {
      position: () => sink.position(),
      isEnded: () => sink.isEnded(),
      receive: (batch, atMs) => {
        if (signal.aborted) return;
        const after = sink.position();
        sink.receive(batch, atMs);
        this.#pass(after, batch, atMs);
        this.#settle();
      },
      tell: (status, attempt) => {
        if (signal.aborted) return;
        this.#status = status;
        this.#attempt = attempt;
        sink.tell(status, attempt);
        this.#pass(sink.position());
      },
    };
  }

  #pass(after: Cursor, batch: Positioned[] = [], atMs?: number): void {
    if (!this.#leads) return;
    this.#channel.postMessage({ after, batch, atMs, status: this.#status, attempt: this.#attempt } satisfies Note);
  }

  #hear(note: Note | undefined): void {
    const { sink } = this;
    if (this.#leads && !note) this.#pass(sink.position());
    if (this.#leads || !note) return;
    this.#heardMs = Date.now();
    const { after, batch, atMs } = note;
    const cursors = [after, ...batch.map(({ cursor }) => cursor)];
    this.#leaderAt = cursors.at(-1);
    const known = cursors.indexOf(sink.position());
    if (known >= 0 && known < batch.length) sink.receive(batch.slice(known), atMs);
    this.#settle();
    if (known >= 0) sink.tell(note.status, note.attempt);
    else if (!isAhead(sink.position(), this.#leaderAt ?? "")) this.#readMyself();
    if (sink.isEnded()) this.#resolve();
  }

  /** Gives up the own connection where the leader's brings all that follows. */
  #settle(): void {
    if (this.#leads || this.sink.position() !== this.#leaderAt) return;
    this.#own?.abort();
    this.#own = undefined;
  }
}

/** Whether a cursor is later than another of the same epoch; any is later than the one before the first event. */
function isAhead(cursor: Cursor, other: Cursor): boolean {
  const [epoch, seq] = cursor.split(".");
  const [otherEpoch, otherSeq] = other.split(".");
  return other ? epoch === otherEpoch && Number(seq) > Number(otherSeq) : !!cursor;
}
