/**
 * The events of a stream, as docs/reference/events.md has them: a union told apart by `type`. Fields that hold their
 * default are left out on the wire, so they are optional here. Fields and types are added over time: what this release
 * does not know is handed on as it is, and changes nothing in the state.
 */

/** A position in a stream, `epoch.seq`. The empty text is the position before the first event. */
export type Cursor = string;

/** Always first; written when the stream is accepted, before anything is generated. */
export interface Start {
  type: "start";
  stream: string;
  model: string;
  /** Unix time in milliseconds, by the server's clock. */
  created_ms: number;
  provider?: string;
}

/** Progress that is no part of the answer: `stage` is for programs, `message` for people. */
export interface Status {
  type: "status";
  stage: string;
  message?: string;
  /** In a queue, from 1. */
  position?: number;
  attempt?: number;
  data?: Record<string, unknown>;
}

/** A passage that the answer rests on; `score` is 0 to 1. */
export interface Source {
  text: string;
  id?: string;
  title?: string;
  url?: string;
  score?: number;
  metadata?: Record<string, unknown>;
}

export interface Sources {
  type: "sources";
  items: Source[];
}

/** A piece of the answer. `choice` counts from 0 (OpenAI's `n`) and is left out for 0. */
export interface Text {
  type: "text";
  text: string;
  choice?: number;
  refusal?: boolean;
  logprobs?: Record<string, unknown>;
}

/** A piece of the model's thinking. */
export interface Reasoning {
  type: "reasoning";
  text: string;
  choice?: number;
  signature?: string;
}

/** A piece of a tool call: the first of an `index` has `id` and `name`; the `arguments` add up to JSON text. */
export interface ToolCall {
  type: "tool_call";
  index: number;
  id?: string;
  name?: string;
  arguments?: string;
  choice?: number;
}

export interface Usage {
  type: "usage";
  prompt_tokens: number;
  completion_tokens: number;
  source: "exact" | "estimated";
  reasoning_tokens?: number;
  cached_tokens?: number;
  details?: Record<string, unknown>;
}

/** Facts about the answer that are no content; later ones replace earlier ones by name. */
export interface Metadata {
  type: "metadata";
  data: Record<string, unknown>;
}

/** The end: it failed. What came before stays valid. */
export interface Failed {
  type: "error";
  reason: string;
  message: string;
  status?: number;
  retryable?: boolean;
  provider?: string;
  code?: string;
  param?: string;
  retry_after_s?: number;
}

export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter" | "cancelled";

/** The end: it is whole, or was cancelled. */
export interface Done {
  type: "done";
  reason: FinishReason;
  /** One for each choice, where there are several. */
  reasons?: FinishReason[];
}

/** Not in the log: the server does not know the cursor that it was asked for, and sends everything from the start. */
export interface Reset {
  type: "reset";
  reason: string;
}

export type StreamEvent =
  Start | Status | Sources | Text | Reasoning | ToolCall | Usage | Metadata | Failed | Done | Reset;

/** An event, and the position after it (empty after a `reset`). */
export interface Positioned {
  event: StreamEvent;
  cursor: Cursor;
}
