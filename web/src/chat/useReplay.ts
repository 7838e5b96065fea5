import { useEffect } from "react";
import type { Message } from "../api/types";
import { type Watched, watch } from "../store/answers";

/** Tool calls stand in an answer's stream and not in its message: where it ended with some, the stream is read again. */
export function useReplay(message: Message, watched: Watched | undefined): void {
  const { finish_reason: reason, stream_id: stream, thread_id: thread } = message;
  useEffect(() => {
    if (reason === "tool_calls" && stream && !watched) watch(stream, thread);
  }, [reason, stream, thread, watched]);
}
