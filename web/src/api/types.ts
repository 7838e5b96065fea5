/** What the server shows, as docs/reference/http-api.md and docs/how-to/conversations.md have it. */

import type { Failed, Source, Usage } from "headwater";

export type Facts = Readonly<Record<string, unknown>>;

export interface Page<T> {
  readonly data: readonly T[];
  readonly has_more: boolean;
}

export interface LiveAnswer {
  readonly stream_id: string;
  readonly message_id: string;
  readonly status: string;
}

export interface Thread {
  readonly id: string;
  readonly workspace_id: string;
  readonly title: string;
  readonly title_source: "" | "words" | "model" | "user";
  readonly leaf_id: string | null;
  readonly model: string;
  readonly messages: number;
  readonly live: readonly LiveAnswer[];
  readonly created_at: string;
  readonly updated_at: string;
}

export interface Siblings {
  readonly index: number;
  readonly count: number;
  readonly ids: readonly string[];
}

export type MessageStatus = "streaming" | "done" | "cancelled" | "failed";

export interface ContentPart {
  readonly type: string;
  readonly text?: string;
  readonly image_url?: { readonly url: string };
}

export interface Message {
  readonly id: string;
  readonly thread_id: string;
  readonly parent_id: string | null;
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  readonly parts: readonly ContentPart[];
  readonly reasoning: string;
  readonly status: MessageStatus;
  readonly stream_id: string | null;
  readonly model: string;
  readonly provider: string;
  readonly finish_reason: string | null;
  readonly error: Omit<Failed, "type"> | null;
  readonly usage: Omit<Usage, "type"> | null;
  readonly sources: readonly Source[];
  readonly metadata: Facts;
  readonly siblings: Siblings;
  readonly created_at: string;
  readonly finished_at: string | null;
}

export interface FoundMessage {
  readonly thread: { readonly id: string; readonly title: string; readonly updated_at: string };
  readonly message: { readonly id: string; readonly role: string; readonly created_at: string } | null;
  readonly snippet: { readonly text: string; readonly start: number; readonly end: number };
}

export interface Model {
  readonly id: string;
  readonly created: number;
  readonly owned_by: string;
}

export interface TargetState {
  readonly provider: string;
  readonly model: string;
  readonly breaker: "closed" | "open" | "half_open";
  readonly running: number;
  readonly queued: number;
}

export interface Route {
  readonly name: string;
  readonly state: readonly TargetState[];
  readonly error?: string | null;
}

export interface Workspace {
  readonly id: string;
  readonly slug: string;
  readonly name: string;
  readonly system_prompt: string;
}

export interface Document {
  readonly id: string;
  readonly thread_id: string | null;
  readonly name: string;
  readonly media_type: string;
  readonly status: "processing" | "ready" | "failed";
  readonly stage: string;
  readonly error: string | null;
  readonly stream_id: string | null;
  readonly bytes: number;
  readonly pages: number;
  readonly passages: number;
}

export interface DocumentText {
  readonly document_id: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly has_more: boolean;
}

/** The body of POST /v1/threads/{thread}/messages. */
export interface AskBody {
  readonly content?: string | readonly ContentPart[];
  readonly edit?: string;
  readonly regenerate?: string;
  readonly model?: string;
  readonly params?: Facts;
}
