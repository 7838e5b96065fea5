/** Asking, editing, regenerating and stopping: what the reader does to a conversation. */

import { client, noteFailure } from "../api/server";
import { cancelThread, createThread } from "../api/conversations";
import type { AskBody, ContentPart, Facts, Message } from "../api/types";
import { preferences } from "../settings/preferences";
import { liveIn, stop, watch } from "./answers";
import { change, conversationOf, outdate, type Pending, refreshConversation, save, setPending } from "./conversations";
import { tellTabs } from "./tabs";
import { refreshThread, upsertThread } from "./threads";

export interface Question {
  readonly text: string;
  readonly parts: readonly ContentPart[];
}

/** Not `randomUUID`, which is missing where the page comes by plain HTTP from another machine. */
const randomKey = (): string =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A thread for a conversation that is about to begin. The list shows it once something is said in it. */
export async function newThread(): Promise<string> {
  const thread = await createThread();
  upsertThread(thread);
  return thread.id;
}

export const ask = (thread: string, question: Question): Promise<void> => begin(thread, { kind: "ask", ...question });

export const edit = (thread: string, message: string, question: Question): Promise<void> =>
  begin(thread, { kind: "edit", target: message, ...question });

export const regenerate = (thread: string, message: string): Promise<void> =>
  begin(thread, { kind: "regenerate", target: message, text: "", parts: [] });

async function begin(thread: string, question: Omit<Pending, "key" | "askedMs">): Promise<void> {
  await send(thread, { ...question, key: randomKey(), askedMs: Date.now() });
}

/** The same question under the same key: where the first one did arrive, it is found and not asked again. */
export async function retry(thread: string): Promise<void> {
  const { pending } = conversationOf(thread);
  if (!pending) return;
  const { error: _, ...again } = pending;
  await send(thread, { ...again, askedMs: Date.now() });
}

export const giveUp = (thread: string): void => setPending(thread, undefined);

const sending = new Map<string, AbortController>();

async function send(thread: string, pending: Pending): Promise<void> {
  setPending(thread, pending);
  const controller = new AbortController();
  sending.set(thread, controller);
  try {
    const { maxTokens } = preferences.getState();
    const options = { idempotencyKey: pending.key, signal: controller.signal };
    const asked = await client.ask(thread, { ...bodyOf(pending) }, options);
    const question = asked.question as unknown as Message;
    const answer = asked.answer as unknown as Message;
    const id = asked.stream.id ?? answer.stream_id ?? "";
    watch(id, thread, {
      stream: asked.stream,
      askedMs: pending.askedMs,
      ...(maxTokens === undefined ? {} : { maxTokens }),
    });
    place(thread, question, answer);
    tellTabs({ kind: "thread", id: thread });
    void refreshThread(thread).catch(noteFailure);
    // Branches above may have new siblings.
    if (pending.kind !== "ask") void refreshConversation(thread).catch(noteFailure);
  } catch (error) {
    noteFailure(error);
    setPending(thread, { ...pending, error });
  } finally {
    sending.delete(thread);
  }
}

/** After the question's parent: an edit or another answer takes the place of the branch that was shown. */
export function place(thread: string, question: Message, answer: Message): void {
  outdate(thread);
  change(thread, ({ pending: _, ...now }) => {
    const at = now.messages.findIndex((message) => message.id === question.parent_id);
    const above = question.parent_id === null ? [] : at < 0 ? now.messages : now.messages.slice(0, at + 1);
    return { ...now, messages: [...above, question, answer], origin: "server" };
  });
  save(thread);
}

export function bodyOf(pending: Pending): AskBody {
  const { model, temperature, maxTokens } = preferences.getState();
  const params: Facts = {
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
  };
  const common: AskBody = { ...(model ? { model } : {}), ...(Object.keys(params).length ? { params } : {}) };
  if (pending.kind === "regenerate") return { ...common, regenerate: pending.target ?? "" };
  const content = pending.parts.length
    ? [...(pending.text ? [{ type: "text", text: pending.text }] : []), ...pending.parts]
    : pending.text;
  return { ...common, content, ...(pending.kind === "edit" && pending.target ? { edit: pending.target } : {}) };
}

/** Stops what is generated, and a question that is still on its way: whether or not it arrived, nothing answers it. */
export async function stopThread(thread: string): Promise<void> {
  const underWay = sending.get(thread);
  if (underWay) {
    underWay.abort();
    await cancelThread(thread);
    await refreshConversation(thread);
  }
  await Promise.all(liveIn(thread).map(([id]) => stop(id)));
}
