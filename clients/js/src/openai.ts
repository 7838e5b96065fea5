/** Streamed chat completions in OpenAI's format, by the names of reference 004. */

import { HeadwaterError, errorFrom, refusal, tooLarge } from "./errors.js";
import { texts } from "./follow.js";
import { recordOf } from "./http.js";
import { createParser } from "./parser.js";

/** What of a message a chunk brings. Other fields are kept where they come. */
export interface ChatDelta {
  role?: string;
  content?: string | null;
  reasoning_content?: string | null;
  refusal?: string | null;
  tool_calls?: { index: number; id?: string; type?: string; function?: { name?: string; arguments?: string } }[];
}

export interface ChatChunk {
  id?: string;
  object?: string;
  created?: number;
  model?: string;
  choices?: { index: number; delta?: ChatDelta; finish_reason?: string | null }[];
  usage?: Record<string, unknown> | null;
}

export interface ChatMessage {
  role: string;
  content: string | null;
  reasoning_content?: string;
  refusal?: string;
  tool_calls?: { id: string; type: string; function: { name: string; arguments: string } }[];
}

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: { index: number; message: ChatMessage; finish_reason: string | null }[];
  usage?: Record<string, unknown>;
}

/**
 * Calls `onChunk` with each chunk, until `[DONE]`. Aborting rejects with the signal's reason; what was read stays read.
 *
 * Throws `HeadwaterError` for a response with an error status, for an error in the stream or an event that is too large
 * for it, and for a body that ends before the answer does: a cut stream must not look like a whole one.
 */
export async function processSSEStream(
  response: Response,
  onChunk: (chunk: ChatChunk) => void,
  signal?: AbortSignal,
): Promise<void> {
  if (!response.ok) throw await errorFrom(response);
  let isDone = false;
  let isFinished = false;
  const parser = createParser({
    onEvent({ data }) {
      if (isDone) return;
      isDone = data === "[DONE]";
      if (isDone) return;
      const chunk: ChatChunk & { error?: unknown } = recordOf(data);
      if (chunk.error) throw refusal(chunk as Record<string, unknown>, "provider_error", 500);
      isFinished ||= chunk.choices?.some((choice) => choice.finish_reason) ?? false;
      onChunk(chunk);
    },
    onError: tooLarge,
  });
  for await (const text of texts(response, signal)) {
    parser.feed(text);
    if (isDone) return;
  }
  // Some servers send no [DONE]; a reason to finish is an end as well.
  if (!isFinished) throw new HeadwaterError("connection_lost", "the answer ended before it was whole");
}

/** The completion that chunks add up to, with the usage of the last that has one. */
export function accumulateChunks(chunks: Iterable<ChatChunk>): ChatCompletion {
  const whole: ChatCompletion = { id: "", object: "chat.completion", created: 0, model: "", choices: [] };
  const choices = new Map<number, ChatCompletion["choices"][number]>();
  for (const chunk of chunks) {
    whole.id ||= chunk.id ?? "";
    whole.created ||= chunk.created ?? 0;
    whole.model ||= chunk.model ?? "";
    if (chunk.usage) whole.usage = chunk.usage;
    for (const { index, delta, finish_reason: finish } of chunk.choices ?? []) {
      const message = { role: "assistant", content: null };
      const choice = choices.get(index) ?? { index, message, finish_reason: null };
      choices.set(index, choice);
      choice.finish_reason = finish ?? choice.finish_reason;
      if (delta) add(choice.message, delta);
    }
  }
  whole.choices = [...choices.values()].sort((a, b) => a.index - b.index);
  return whole;
}

function add(message: ChatMessage, delta: ChatDelta): void {
  message.role = delta.role || message.role;
  for (const name of ["content", "reasoning_content", "refusal"] as const) {
    const piece = delta[name];
    // Appending costs a constant: engines keep such a text as its pieces until it is read.
    if (typeof piece === "string") message[name] = (message[name] ?? "") + piece;
  }
  for (const { index, id = "", type, function: called } of delta.tool_calls ?? []) {
    const calls = (message.tool_calls ??= []);
    const call = (calls[index] ??= { id, type: "function", function: { name: "", arguments: "" } });
    call.id ||= id;
    call.type = type ?? call.type;
    call.function.name += called?.name ?? "";
    call.function.arguments += called?.arguments ?? "";
  }
}
