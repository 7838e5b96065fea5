/** The answers that are being watched. They live here and not in any component: leaving a conversation stops nothing,
 * and whoever comes back finds the stream as it is.
 */

import type { AnswerState, AnswerStream } from "headwater";
import { createStore } from "zustand/vanilla";
import { client, noteFailure } from "../api/server";
import type { Message } from "../api/types";
import { boundOf, dropBound, keepBound } from "./bounds";

export interface Watched {
  readonly stream: AnswerStream;
  readonly thread: string;
  /** By this machine's clock; undefined where the answer was joined, not asked for here. */
  readonly askedMs: number | undefined;
  /** Bound of the answer, where its reader has set one. */
  readonly maxTokens: number | undefined;
}

interface Answers {
  /** By stream id. Ended ones stay until the page is left, at most `KEPT`. */
  readonly watched: ReadonlyMap<string, Watched>;
}

const KEPT = 50;
export const answers = createStore<Answers>(() => ({ watched: new Map() }));

type Ended = (id: string, watched: Watched, state: AnswerState | undefined) => void;
const endListeners = new Set<Ended>();

export function onAnswerEnd(listener: Ended): () => void {
  endListeners.add(listener);
  return () => endListeners.delete(listener);
}

/** Watch a stream, once for this tab. */
export function watch(
  id: string,
  thread: string,
  more: { stream?: AnswerStream; askedMs?: number; maxTokens?: number } = {},
): Watched {
  const known = answers.getState().watched.get(id);
  if (known && known.stream.connection.error === undefined) return known;
  const stream = more.stream ?? client.follow(id);
  if (more.maxTokens !== undefined) keepBound(id, more.maxTokens);
  const watched: Watched = { stream, thread, askedMs: more.askedMs, maxTokens: more.maxTokens ?? boundOf(id) };
  answers.setState({ watched: prune(new Map(answers.getState().watched).set(id, watched)) });
  stream.done.then(
    (state) => tell(id, watched, state),
    (error: unknown) => {
      noteFailure(error);
      tell(id, watched, undefined);
    },
  );
  return watched;
}

function tell(id: string, watched: Watched, state: AnswerState | undefined): void {
  if (state) dropBound(id);
  for (const listener of endListeners) listener(id, watched, state);
}

function prune(watched: Map<string, Watched>): Map<string, Watched> {
  for (const [id, { stream }] of watched) {
    if (watched.size <= KEPT) break;
    if (isOver(stream.state)) watched.delete(id);
  }
  return watched;
}

export const isOver = (state: AnswerState): boolean =>
  state.phase === "done" || state.phase === "failed" || state.phase === "cancelled";

const STATUS_OF_PHASE = {
  waiting: "streaming",
  streaming: "streaming",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
} as const satisfies Record<AnswerState["phase"], Message["status"]>;

/** A message as its stream tells it. */
export const withState = (message: Message, state: AnswerState): Message => ({
  ...message,
  content: state.text,
  reasoning: state.reasoning,
  status: STATUS_OF_PHASE[state.phase],
  sources: state.sources,
  usage: state.usage ?? null,
  metadata: { ...message.metadata, ...state.metadata },
  error: state.error ?? null,
  finish_reason: state.finish?.reason ?? null,
});

export function watchedOf(id: string | null | undefined): Watched | undefined {
  return id ? answers.getState().watched.get(id) : undefined;
}

/** Live streams of a thread that this tab watches. */
export function liveIn(thread: string): readonly (readonly [string, Watched])[] {
  return [...answers.getState().watched].filter(
    ([, each]) => each.thread === thread && !isOver(each.stream.state) && !each.stream.connection.error,
  );
}

/** Stops the generation. What there is of the answer stays. */
export async function stop(id: string): Promise<void> {
  await watchedOf(id)?.stream.cancel();
}

/** A stream is forgotten, as when its thread is deleted. */
export function unwatch(thread: string): void {
  const watched = new Map(answers.getState().watched);
  for (const [id, each] of watched) {
    if (each.thread !== thread) continue;
    each.stream.close();
    watched.delete(id);
  }
  answers.setState({ watched });
}
