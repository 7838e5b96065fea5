import type { AnswerState, Connection } from "headwater";
import { useCallback, useSyncExternalStore } from "react";
import { useStore } from "zustand";
import type { Message } from "../api/types";
import { answers, isOver, type Watched, withState } from "../store/answers";

const nothing = (): void => {};

export function useWatched(id: string | null): Watched | undefined {
  return useStore(answers, (state) => (id ? state.watched.get(id) : undefined));
}

/** The state of a stream, at most once a frame. */
export function useAnswerState(watched: Watched | undefined): AnswerState | undefined {
  const stream = watched?.stream;
  const subscribe = useCallback(
    (listener: () => void) => stream?.subscribe(listener, { frame: true }) ?? nothing,
    [stream],
  );
  return useSyncExternalStore(subscribe, () => stream?.state);
}

/** Only whether it has ended: whoever asks is not drawn again for each fragment. */
export function useAnswerOver(watched: Watched | undefined): boolean {
  const stream = watched?.stream;
  const subscribe = useCallback((listener: () => void) => stream?.subscribe(listener) ?? nothing, [stream]);
  return useSyncExternalStore(subscribe, () => stream !== undefined && isOver(stream.state));
}

export function useConnection(watched: Watched | undefined): Connection | undefined {
  const stream = watched?.stream;
  const subscribe = useCallback(
    (listener: () => void) => stream?.subscribe(listener, { frame: true }) ?? nothing,
    [stream],
  );
  return useSyncExternalStore(subscribe, () => stream?.connection);
}

/** What is shown of an answer: the same for one that is being made and one that was kept. */
export interface AnswerView {
  readonly text: string;
  readonly reasoning: string;
  readonly live: boolean;
  readonly state: AnswerState | undefined;
  readonly sources: AnswerState["sources"];
  readonly toolCalls: AnswerState["toolCalls"];
  readonly usage: Message["usage"];
  readonly metadata: Message["metadata"];
  readonly status: Message["status"];
  readonly error: Message["error"];
  readonly finishReason: string | null;
}

/** The stream is the truth while the answer is made; before its first event the server's text so far is shown. */
export function viewOf(message: Message, state: AnswerState | undefined): AnswerView {
  const fromStream = state !== undefined && message.status === "streaming" && state.events > 0;
  const { content, reasoning, sources, usage, metadata, status, error, finish_reason } = fromStream
    ? withState(message, state)
    : message;
  return {
    ...{ text: content, reasoning, sources, usage, metadata, status, error, finishReason: finish_reason },
    live: status === "streaming",
    state,
    toolCalls: state?.toolCalls ?? [],
  };
}
