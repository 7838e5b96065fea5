/**
 * The state of an answer as a pure fold over its events: the same function live, after a resume and in tests.
 *
 * States are immutable and share what did not change. One event costs a constant: text is appended to a string, which
 * engines keep as a tree of pieces until somebody reads it; lists are copied only by the few events that are in them.
 */

import type { Cursor, Done, Failed, Source, Start, Status, StreamEvent, ToolCall, Usage } from "./events.js";

export type Phase = "waiting" | "streaming" | "done" | "failed" | "cancelled";

export interface ToolCallState {
  index: number;
  id: string;
  name: string;
  /** JSON text, whole once the answer has ended. */
  arguments: string;
}

/** Of the first choice; events of others (`n` > 1) are in the stream only. */
export interface AnswerState {
  readonly text: string;
  readonly reasoning: string;
  /** When thinking began and ended, by this machine's clock; only where it was seen live. */
  readonly reasoningStartedMs?: number | undefined;
  readonly reasoningEndedMs?: number | undefined;
  /** By `index`. */
  readonly toolCalls: readonly ToolCallState[];
  /** The first is cited as `[1]`. */
  readonly sources: readonly Source[];
  /** What is going on now; undefined once content follows it. */
  readonly status?: Status | undefined;
  /** Where the answer changed hands or was tried again: `retrying`, `fallback`, `hedging`, `continuing`, `recovering`. */
  readonly seams: readonly Status[];
  readonly usage?: Usage | undefined;
  /** All `metadata` events as one. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly start?: Omit<Start, "type"> | undefined;
  readonly error?: Failed | undefined;
  readonly finish?: Done | undefined;
  /** `waiting` until there is content. */
  readonly phase: Phase;
  /** Of the last event. */
  readonly cursor?: Cursor | undefined;
  /** How many events were folded; merged pieces count once. */
  readonly events: number;
}

const SEAMS = new Set(["retrying", "fallback", "hedging", "continuing", "recovering"]);

const EMPTY: AnswerState = {
  text: "",
  reasoning: "",
  toolCalls: [],
  sources: [],
  seams: [],
  metadata: {},
  phase: "waiting",
  events: 0,
};

export function emptyAnswer(): AnswerState {
  return EMPTY;
}

/** `atMs`: when the event was seen, where it was seen live; without it thinking has no times. */
export function applyEvent(state: AnswerState, event: StreamEvent, cursor: Cursor, atMs?: number): AnswerState {
  if (event.type === "reset") return EMPTY;
  return { ...state, ...changes(state, event, atMs), cursor, events: state.events + 1 };
}

function changes(
  state: AnswerState,
  event: Exclude<StreamEvent, { type: "reset" }>,
  atMs?: number,
): Partial<AnswerState> {
  switch (event.type) {
    case "text":
      return event.choice ? {} : { ...content(state, atMs), text: state.text + event.text };
    case "reasoning":
      return event.choice ? {} : thought(state, event.text, atMs);
    case "tool_call":
      return event.choice ? {} : { ...content(state, atMs), toolCalls: called(state.toolCalls, event) };
    case "start": {
      const { type: _, ...start } = event;
      return { start };
    }
    case "status":
      return SEAMS.has(event.stage) ? { status: event, seams: [...state.seams, event] } : { status: event };
    case "sources":
      return { sources: [...state.sources, ...event.items] };
    case "usage":
      return { usage: event };
    case "metadata":
      return { metadata: { ...state.metadata, ...event.data } };
    case "error":
      return { ...settled(state, atMs), error: event, phase: "failed" };
    case "done":
      return { ...settled(state, atMs), finish: event, phase: event.reason === "cancelled" ? "cancelled" : "done" };
    default:
      return {}; // of a later release
  }
}

/** What any content changes: the answer goes on, and thinking has ended. */
function content(state: AnswerState, atMs?: number): Partial<AnswerState> {
  return { ...settled(state, atMs), phase: "streaming" };
}

function settled(state: AnswerState, atMs?: number): Partial<AnswerState> {
  if (state.reasoningStartedMs === undefined || state.reasoningEndedMs !== undefined) return { status: undefined };
  // An end that nobody saw has no time, so neither has the whole.
  return atMs === undefined
    ? { status: undefined, reasoningStartedMs: undefined }
    : { status: undefined, reasoningEndedMs: atMs };
}

function thought(state: AnswerState, text: string, atMs?: number): Partial<AnswerState> {
  if (!text) return {}; // a signature
  return {
    phase: "streaming",
    status: undefined,
    reasoning: state.reasoning + text,
    reasoningStartedMs: state.reasoning ? state.reasoningStartedMs : atMs,
    reasoningEndedMs: undefined,
  };
}

function called(calls: readonly ToolCallState[], piece: ToolCall): ToolCallState[] {
  const known = calls.find((call) => call.index === piece.index);
  const call = {
    index: piece.index,
    id: known?.id || piece.id || "",
    name: known?.name || piece.name || "",
    arguments: (known?.arguments ?? "") + (piece.arguments ?? ""),
  };
  return known
    ? calls.map((each) => (each === known ? call : each))
    : [...calls, call].sort((a, b) => a.index - b.index);
}
