/** The hook of reference 001, and what else Headwater knows of an answer. */

import { useEffect, useInsertionEffect, useMemo, useState, useSyncExternalStore } from "react";
import { createClient } from "../client.js";
import type { Cursor, Source, Status, Usage } from "../events.js";
import type { ToolCallState } from "../fold.js";
import type { Client, Connection } from "../types.js";
import { type AIStreamRequest, type Callbacks, IDLE, Session } from "./session.js";

export interface UseAIStreamOptions extends Callbacks {
  /** By default one for the page's own origin, without a key, whose tabs share their connections. */
  client?: Client;
}

export interface AIStream {
  /** The whole text so far. */
  text: string;
  isStreaming: boolean;
  error: string | null;
  isComplete: boolean;
  /** Leaves what there was, and asks. The promise resolves when the answer has ended, whatever its end. */
  startStream: (request: AIStreamRequest) => Promise<void>;
  /** Stops the generation. The text stays. */
  stopStream: () => Promise<void>;
  /** Leaves what there is and forgets it. The generation goes on. */
  reset: () => void;
  /** After a reload, the stream with this id; without one, the last stream from where it stands. */
  resume: (streamId?: string, after?: Cursor) => Promise<void>;
  /** To be kept for `resume`. */
  streamId: string | undefined;
  usage: Usage | undefined;
  sources: readonly Source[];
  reasoning: string;
  toolCalls: readonly ToolCallState[];
  status: Status | undefined;
  connection: Connection;
}

let ownClient: Client | undefined;
const defaultClient = (): Client => (ownClient ??= createClient({ share: true }));

/** Unmounting only disconnects; `resume(streamId)` finds the answer again. */
export function useAIStream(options: UseAIStreamOptions = {}): AIStream {
  const { client, onChunk, onComplete, onError, onReset } = options;
  const [session] = useState(() => new Session());
  useInsertionEffect(() => session.tell({ onChunk, onComplete, onError, onReset }));
  useEffect(() => session.mount(), [session]);
  const snapshot = useSyncExternalStore(
    session.subscribe,
    () => session.snapshot,
    () => IDLE,
  );
  const actions = useMemo(
    () => ({
      startStream: (request: AIStreamRequest) => session.start(client ?? defaultClient(), request),
      stopStream: () => session.stop(),
      reset: () => session.reset(),
      resume: (streamId?: string, after?: Cursor) => session.resume(client ?? defaultClient(), streamId, after),
    }),
    [session, client],
  );
  const { state, connection, streamId, isStreaming, error } = snapshot;
  const { text, usage, sources, reasoning, toolCalls, status } = state;
  const isComplete = state.phase === "done" && !isStreaming;
  const answer = { text, usage, sources, reasoning, toolCalls, status };
  return { ...actions, ...answer, isStreaming, isComplete, error, streamId, connection };
}
