/** The list of conversations, newest activity first. */

import { createStore } from "zustand/vanilla";
import * as api from "../api/conversations";
import type { Thread } from "../api/types";
import { forgetConversation, readThreads, saveThreads } from "./cache";
import { NOTICE_MS } from "./notices";
import { tellTabs } from "./tabs";

interface Threads {
  readonly threads: readonly Thread[];
  readonly hasMore: boolean;
  /** The server's list was seen; before, the cache's is shown. */
  readonly loaded: boolean;
  /** Deleted here, while it can be undone. */
  readonly leaving: ReadonlySet<string>;
}

export const threadList = createStore<Threads>(() => ({
  threads: [],
  hasMore: false,
  loaded: false,
  leaving: new Set(),
}));

const byActivity = (a: Thread, b: Thread): number => b.updated_at.localeCompare(a.updated_at);

function put(threads: readonly Thread[], more: Partial<Threads> = {}): void {
  threadList.setState({ threads, ...more });
  void saveThreads(threads.slice(0, api.PAGE_SIZE));
}

export async function openThreads(): Promise<void> {
  const saved = await readThreads();
  if (saved && !threadList.getState().loaded) threadList.setState({ threads: saved });
  await refreshThreads();
}

/** The newest page, merged with the older ones that were loaded. */
export async function refreshThreads(): Promise<readonly Thread[]> {
  const page = await api.listThreads();
  const { threads, hasMore, loaded } = threadList.getState();
  const oldest = page.data.at(-1);
  const seen = new Set(page.data.map((thread) => thread.id));
  const older =
    loaded && page.has_more && oldest
      ? threads.filter((thread) => !seen.has(thread.id) && thread.updated_at < oldest.updated_at)
      : [];
  put([...page.data, ...older], { loaded: true, hasMore: older.length ? hasMore : page.has_more });
  return page.data;
}

export async function loadOlderThreads(): Promise<void> {
  const last = threadList.getState().threads.at(-1);
  if (!last || !threadList.getState().hasMore) return;
  const page = await api.listThreads(last.id);
  const { threads } = threadList.getState();
  const seen = new Set(threads.map((thread) => thread.id));
  put([...threads, ...page.data.filter((thread) => !seen.has(thread.id))], { hasMore: page.has_more });
}

export function upsertThread(thread: Thread): void {
  const others = threadList.getState().threads.filter((each) => each.id !== thread.id);
  put([...others, thread].sort(byActivity));
}

export async function refreshThread(id: string): Promise<Thread> {
  const thread = await api.getThread(id);
  upsertThread(thread);
  return thread;
}

export async function renameThread(id: string, title: string): Promise<void> {
  upsertThread(await api.renameThread(id, title));
  tellTabs({ kind: "threads" });
}

const timers = new Map<string, ReturnType<typeof setTimeout>>();

function setLeaving(change: (leaving: Set<string>) => void): void {
  const leaving = new Set(threadList.getState().leaving);
  change(leaving);
  threadList.setState({ leaving });
}

/** Gone from the list at once, from the server when it can no longer be undone. */
export function deleteThreadSoon(id: string, onFailure: (error: unknown) => void): void {
  setLeaving((leaving) => leaving.add(id));
  timers.set(
    id,
    setTimeout(() => void deleteNow(id).catch(onFailure), NOTICE_MS),
  );
}

export function undoDelete(id: string): void {
  clearTimeout(timers.get(id));
  timers.delete(id);
  setLeaving((leaving) => leaving.delete(id));
}

async function deleteNow(id: string): Promise<void> {
  timers.delete(id);
  try {
    await api.deleteThread(id);
    put(threadList.getState().threads.filter((thread) => thread.id !== id));
    void forgetConversation(id);
    tellTabs({ kind: "threads" });
  } finally {
    setLeaving((leaving) => leaving.delete(id));
  }
}

/** The page is being left: what was deleted is deleted. */
export function deleteAllNow(): void {
  for (const [id, timer] of timers) {
    clearTimeout(timer);
    timers.delete(id);
    api.deleteThreadAtLeaving(id);
  }
}
