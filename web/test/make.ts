/** Messages and threads as the server shows them. */

import type { Message, Thread } from "../src/api/types";

let last = 0;

export function message(fields: Partial<Message> = {}): Message {
  const id = fields.id ?? `m${++last}`;
  return {
    ...{ id, thread_id: "t1", parent_id: null, role: "user", content: id, parts: [], reasoning: "", status: "done" },
    ...{ stream_id: null, model: "", provider: "", finish_reason: null, error: null, usage: null, sources: [] },
    ...{ metadata: {}, siblings: { index: 0, count: 1, ids: [id] }, created_at: "2026-01-01T00:00:00.000Z" },
    ...{ finished_at: null, ...fields },
  } as Message;
}

/** Questions and answers by turns, each below the one before. */
export function path(count: number, first = 0): Message[] {
  return Array.from({ length: count }, (_, at) =>
    message({
      id: `p${first + at}`,
      parent_id: first + at ? `p${first + at - 1}` : null,
      role: at % 2 ? "assistant" : "user",
    }),
  );
}

export function thread(fields: Partial<Thread> = {}): Thread {
  return {
    ...{ id: `t${++last}`, workspace_id: "w", title: "Tides", title_source: "words", leaf_id: null, model: "" },
    ...{ messages: 2, live: [], created_at: "2026-01-01T00:00:00.000Z", updated_at: "2026-01-01T00:00:00.000Z" },
    ...fields,
  } as Thread;
}
