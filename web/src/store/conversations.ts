/** The messages of the conversations that were opened: the current branch of each, oldest first.
 *
 * The server decides what a conversation holds. What was asked here and is not there yet stands in `pending`.
 */

import { createStore } from "zustand/vanilla";
import * as api from "../api/conversations";
import type { ContentPart, Message } from "../api/types";
import { answers, isOver, watch, watchedOf, withState } from "./answers";
import { readConversation, saveConversation } from "./cache";
import { tellTabs } from "./tabs";
import { refreshThread } from "./threads";

/** A question on its way to the server, or one that it did not take. */
export interface Pending {
  /** The same for each attempt: a question that arrived twice is asked once. */
  readonly key: string;
  readonly kind: "ask" | "edit" | "regenerate";
  /** Edited question, or the one to answer again. */
  readonly target?: string;
  readonly text: string;
  readonly parts: readonly ContentPart[];
  readonly askedMs: number;
  readonly error?: unknown;
}

export interface Conversation {
  readonly messages: readonly Message[];
  readonly hasMore: boolean;
  /** `saved`: from the cache, while the server is asked, or because it cannot be. */
  readonly origin: "none" | "saved" | "server";
  readonly error?: unknown;
  readonly pending?: Pending;
}

export const EMPTY: Conversation = { messages: [], hasMore: false, origin: "none" };
export const conversations = createStore<{ readonly byThread: Readonly<Record<string, Conversation>> }>(() => ({
  byThread: {},
}));

export const conversationOf = (thread: string): Conversation => conversations.getState().byThread[thread] ?? EMPTY;

export function change(thread: string, how: (now: Conversation) => Conversation): void {
  conversations.setState(({ byThread }) => ({ byThread: { ...byThread, [thread]: how(byThread[thread] ?? EMPTY) } }));
}

export function setPending(thread: string, pending: Pending | undefined): void {
  change(thread, ({ pending: _, ...rest }) => (pending ? { ...rest, pending } : rest));
}

/** Show what was saved at once, then what the server has. */
export async function openConversation(thread: string): Promise<void> {
  if (conversationOf(thread).origin === "none") {
    const saved = await readConversation(thread);
    if (saved && conversationOf(thread).origin === "none") {
      change(thread, (now) => ({ ...now, messages: saved.messages, hasMore: saved.hasMore, origin: "saved" }));
    }
  }
  await refreshConversation(thread);
}

const asked = new Map<string, number>();

/** What is known here is newer than any list that is on its way. */
export function outdate(thread: string): void {
  asked.set(thread, (asked.get(thread) ?? 0) + 1);
}

/** The newest page of the current branch, merged with the older messages that were loaded. */
export async function refreshConversation(thread: string): Promise<void> {
  outdate(thread);
  const turn = asked.get(thread);
  try {
    const [page] = await Promise.all([api.listMessages(thread), refreshThread(thread)]);
    if (asked.get(thread) !== turn) return; // a later answer is on its way
    change(thread, ({ error: _, ...now }) => ({ ...now, ...merge(now, page), origin: "server" }));
    joinLive(thread);
    save(thread);
  } catch (error) {
    if (asked.get(thread) !== turn) return;
    change(thread, (now) => ({ ...now, error }));
    throw error;
  }
}

/** The branch may have changed above: older messages are kept only where the page goes on after them. */
export function merge(
  now: Pick<Conversation, "messages" | "hasMore">,
  page: { readonly data: readonly Message[]; readonly has_more: boolean },
): Pick<Conversation, "messages" | "hasMore"> {
  const first = page.data[0];
  const at = first ? now.messages.findIndex((message) => message.id === first.parent_id) : -1;
  if (!page.has_more || at < 0) return { messages: keepSame(now.messages, page.data), hasMore: page.has_more };
  return {
    messages: [...now.messages.slice(0, at + 1), ...keepSame(now.messages, page.data)],
    hasMore: now.hasMore,
  };
}

/** Messages that did not change stay the same objects, so that nothing of them is drawn again. */
function keepSame(before: readonly Message[], after: readonly Message[]): Message[] {
  const known = new Map(before.map((message) => [message.id, message]));
  return after.map((message) => {
    const old = known.get(message.id);
    return old && old.finished_at === message.finished_at && JSON.stringify(old) === JSON.stringify(message)
      ? old
      : message;
  });
}

export async function loadOlder(thread: string): Promise<void> {
  const { messages, hasMore } = conversationOf(thread);
  const first = messages[0];
  if (!first || !hasMore) return;
  const page = await api.listMessages(thread, first.id);
  change(thread, (now) =>
    now.messages[0]?.id === first.id
      ? { ...now, messages: [...page.data, ...now.messages], hasMore: page.has_more }
      : now,
  );
}

/** Every answer that is being made is watched, wherever it was asked for. */
function joinLive(thread: string): void {
  for (const message of conversationOf(thread).messages) {
    if (message.status === "streaming" && message.stream_id) watch(message.stream_id, thread);
  }
}

export function save(thread: string): void {
  const { messages, hasMore } = conversationOf(thread);
  void saveConversation(thread, messages.slice(-api.PAGE_SIZE), hasMore || messages.length > api.PAGE_SIZE);
}

/** Keeps what there is of the answers that are made: it can then be read without the server, too. */
export function keepLive(): void {
  for (const [id, { thread, stream }] of answers.getState().watched) {
    const { text, reasoning, events } = stream.state;
    const message = conversationOf(thread).messages.find((each) => each.stream_id === id);
    if (message?.status !== "streaming" || !events || isOver(stream.state)) continue;
    if (message.content === text && message.reasoning === reasoning) continue;
    updateMessageContent(thread, message.id, text, reasoning);
    save(thread);
  }
}

// ------------------------------------------------------------------- single messages

function changeMessage(thread: string, id: string, how: (message: Message) => Message): void {
  change(thread, (now) => ({
    ...now,
    messages: now.messages.map((message) => (message.id === id ? how(message) : message)),
  }));
}

export function updateMessageContent(thread: string, id: string, content: string, reasoning = ""): void {
  changeMessage(thread, id, (message) => ({ ...message, content, reasoning: reasoning || message.reasoning }));
}

export function updateMessageUsage(thread: string, id: string, usage: Message["usage"]): void {
  changeMessage(thread, id, (message) => ({ ...message, usage }));
}

/** With all that is below it. */
export async function deleteMessage(thread: string, id: string): Promise<void> {
  await api.deleteMessage(id);
  outdate(thread);
  change(thread, (now) => {
    const at = now.messages.findIndex((message) => message.id === id);
    return at < 0 ? now : { ...now, messages: now.messages.slice(0, at) };
  });
  tellTabs({ kind: "thread", id: thread });
  await refreshConversation(thread);
}

/** Brings a message among those that are loaded: it may be further up, or on another branch, which is then shown. */
export async function reachMessage(thread: string, id: string): Promise<void> {
  if (await reachAbove(thread, id)) return;
  await switchBranch(thread, id);
  await reachAbove(thread, id);
}

async function reachAbove(thread: string, id: string): Promise<boolean> {
  for (;;) {
    const { messages, hasMore } = conversationOf(thread);
    if (messages.some((message) => message.id === id)) return true;
    if (!hasMore) return false;
    await loadOlder(thread);
    if (conversationOf(thread).messages[0] === messages[0]) return false; // the branch has changed meanwhile
  }
}

export async function switchBranch(thread: string, messageId: string): Promise<void> {
  await api.switchLeaf(thread, messageId);
  await refreshConversation(thread);
}

/** A stream has ended: what it told is folded into its message at once, then the server's own record replaces it. */
export async function settleMessage(thread: string, streamId: string): Promise<void> {
  const message = conversationOf(thread).messages.find((each) => each.stream_id === streamId);
  if (!message) return;
  const state = watchedOf(streamId)?.stream.state;
  if (state && isOver(state)) changeMessage(thread, message.id, (each) => withState(each, state));
  const turn = asked.get(thread);
  const kept = await api.getMessage(message.id);
  changeMessage(thread, message.id, () => kept);
  // A list that was asked for meanwhile may show another branch, and this message as it was: it is asked for again.
  if (asked.get(thread) === turn) outdate(thread);
  else await refreshConversation(thread);
  save(thread);
}
