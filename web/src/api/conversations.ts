/** Threads and messages of the server. */

import { call, headers, BASE_URL } from "./server";
import type { FoundMessage, Message, Page, Thread, Workspace } from "./types";

export const PAGE_SIZE = 100;
export const WORKSPACE = "default";

const query = (values: Readonly<Record<string, string | number | undefined>>): string => {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
};
const at = encodeURIComponent;

export const listThreads = (before?: string): Promise<Page<Thread>> =>
  call("GET", `/v1/workspaces/${WORKSPACE}/threads${query({ limit: PAGE_SIZE, before })}`);

export const getThread = (id: string): Promise<Thread> => call("GET", `/v1/threads/${at(id)}`);

export const createThread = (): Promise<Thread> => call("POST", `/v1/workspaces/${WORKSPACE}/threads`, {});

export const renameThread = (id: string, title: string): Promise<Thread> =>
  call("PATCH", `/v1/threads/${at(id)}`, { title });

export const deleteThread = (id: string): Promise<void> => call("DELETE", `/v1/threads/${at(id)}`);

/** `keepalive`: it arrives although the page is gone. Nobody is there to hear of a failure. */
export const deleteThreadAtLeaving = (id: string): void =>
  void fetch(`${BASE_URL}/v1/threads/${at(id)}`, { method: "DELETE", keepalive: true, headers: headers() }).catch(
    () => {},
  );

export const listMessages = (thread: string, before?: string): Promise<Page<Message>> =>
  call("GET", `/v1/threads/${at(thread)}/messages${query({ limit: PAGE_SIZE, before })}`);

export const getMessage = (id: string): Promise<Message> => call("GET", `/v1/messages/${at(id)}`);

export const deleteMessage = (id: string): Promise<void> => call("DELETE", `/v1/messages/${at(id)}`);

export const switchLeaf = (thread: string, messageId: string): Promise<Thread> =>
  call("POST", `/v1/threads/${at(thread)}/leaf`, { message_id: messageId });

export const searchMessages = (q: string, signal: AbortSignal): Promise<Page<FoundMessage>> =>
  call("GET", `/v1/search${query({ q, workspace: WORKSPACE, limit: 30 })}`, undefined, signal);

export const getWorkspace = (): Promise<Workspace> => call("GET", `/v1/workspaces/${WORKSPACE}`);

export const setSystemPrompt = (text: string): Promise<Workspace> =>
  call("PATCH", `/v1/workspaces/${WORKSPACE}`, { system_prompt: text });

export const exportPath = (thread: string, form: "json" | "markdown"): string =>
  `/v1/threads/${at(thread)}/export?format=${form}`;

export const cancelThread = (id: string): Promise<unknown> => call("POST", `/v1/threads/${at(id)}/cancel`);
