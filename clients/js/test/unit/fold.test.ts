import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AnswerState, type StreamEvent, applyEvent, emptyAnswer } from "../../src/index.js";
import { answer } from "../kit/arbitraries.js";

const fold = (events: StreamEvent[], from: AnswerState = emptyAnswer()): AnswerState =>
  events.reduce((state, event, seq) => applyEvent(state, event, `1.${seq}`), from);

const START: StreamEvent = { type: "start", stream: "s", model: "m", created_ms: 7, provider: "p" };

it("begins empty", () => {
  expect(emptyAnswer()).toEqual({
    text: "",
    reasoning: "",
    toolCalls: [],
    sources: [],
    seams: [],
    metadata: {},
    phase: "waiting",
    events: 0,
  });
});

it("adds up a whole answer", () => {
  const state = fold([
    START,
    { type: "status", stage: "searching", message: "Searching documents..." },
    { type: "sources", items: [{ text: "one" }] },
    { type: "sources", items: [{ text: "two", score: 0.5 }] },
    { type: "metadata", data: { model: "a", confidence: null } },
    { type: "text", text: "Hel" },
    { type: "text", text: "lo" },
    { type: "metadata", data: { confidence: 0.9 } },
    { type: "usage", prompt_tokens: 1, completion_tokens: 2, source: "exact" },
    { type: "done", reason: "stop" },
  ]);
  expect(state).toMatchObject({
    text: "Hello",
    phase: "done",
    start: { stream: "s", model: "m", created_ms: 7, provider: "p" },
    sources: [{ text: "one" }, { text: "two", score: 0.5 }],
    metadata: { model: "a", confidence: 0.9 },
    usage: { completion_tokens: 2 },
    finish: { reason: "stop" },
    cursor: "1.9",
    events: 10,
  });
  expect(state.status).toBeUndefined();
});

it("waits until there is content, and tells what goes on meanwhile", () => {
  const queued: StreamEvent = { type: "status", stage: "queued", position: 3 };
  expect(fold([START, queued])).toMatchObject({ phase: "waiting", status: queued, seams: [] });
  for (const event of [
    { type: "text", text: "a" },
    { type: "reasoning", text: "a" },
    { type: "tool_call", index: 0 },
  ] satisfies StreamEvent[]) {
    const state = fold([START, queued, event]);
    expect(state.phase).toBe("streaming");
    expect(state.status).toBeUndefined();
  }
});

it.each(["retrying", "fallback", "hedging", "continuing", "recovering"])("keeps %s as a seam", (stage) => {
  const event: StreamEvent = { type: "status", stage };
  expect(fold([event, { type: "text", text: "a" }, event]).seams).toEqual([event, event]);
});

it.each<[StreamEvent, AnswerState["phase"]]>([
  [{ type: "done", reason: "length" }, "done"],
  [{ type: "done", reason: "cancelled" }, "cancelled"],
  [{ type: "error", reason: "interrupted", message: "gone" }, "failed"],
])("ends with %o as %s, and keeps the text", (event, phase) => {
  expect(fold([{ type: "text", text: "so far" }, event])).toMatchObject({ phase, text: "so far" });
});

it("adds up tool calls by index", () => {
  const state = fold([
    { type: "tool_call", index: 1, id: "b", name: "clock" },
    { type: "tool_call", index: 0, id: "a", name: "weather" },
    { type: "tool_call", index: 0, arguments: '{"city":' },
    { type: "tool_call", index: 0, arguments: '"Zürich"}' },
    { type: "tool_call", index: 1, id: "later", name: "later", arguments: "{}" },
  ]);
  expect(state.toolCalls).toEqual([
    { index: 0, id: "a", name: "weather", arguments: '{"city":"Zürich"}' },
    { index: 1, id: "b", name: "clock", arguments: "{}" },
  ]);
});

it("is about the first choice", () => {
  const state = fold([
    { type: "text", text: "first" },
    { type: "text", text: "second", choice: 1 },
    { type: "reasoning", text: "second", choice: 1 },
    { type: "tool_call", index: 0, name: "x", choice: 1 },
  ]);
  expect(state).toMatchObject({ text: "first", reasoning: "", toolCalls: [], events: 4 });
});

it("hands on what it does not know", () => {
  const state = applyEvent(emptyAnswer(), { type: "hologram" } as unknown as StreamEvent, "1.0");
  expect(state).toEqual({ ...emptyAnswer(), cursor: "1.0", events: 1 });
});

it("a reset drops everything", () => {
  const state = applyEvent(fold([START, { type: "text", text: "old" }]), { type: "reset", reason: "unknown" }, "");
  expect(state).toEqual(emptyAnswer());
});

describe("the time of thinking", () => {
  const think: StreamEvent = { type: "reasoning", text: "hm" };
  const text: StreamEvent = { type: "text", text: "so" };
  const timed = (...steps: [StreamEvent, number?][]): (number | undefined)[] => {
    const { reasoningStartedMs, reasoningEndedMs } = steps.reduce(
      (state, [event, atMs], seq) => applyEvent(state, event, `1.${seq}`, atMs),
      emptyAnswer(),
    );
    return [reasoningStartedMs, reasoningEndedMs];
  };

  it("is from its first piece to what follows", () => {
    expect(timed([think, 5], [think, 6])).toEqual([5, undefined]);
    expect(timed([think, 5], [text, 9], [text, 12])).toEqual([5, 9]);
    expect(timed([think, 5], [{ type: "done", reason: "stop" }, 8])).toEqual([5, 8]);
    expect(timed([think, 5], [{ type: "error", reason: "x", message: "" }, 8])).toEqual([5, 8]);
  });

  it("goes on with more thinking", () => {
    expect(timed([think, 5], [text, 9], [think, 11])).toEqual([5, undefined]);
    expect(timed([think, 5], [text, 9], [think, 11], [text, 14])).toEqual([5, 14]);
  });

  it("is not known for what was not seen live", () => {
    expect(timed([think], [think, 6], [text, 9])).toEqual([undefined, undefined]);
    expect(timed([think, 5], [text], [text, 9])).toEqual([undefined, undefined]);
  });

  it("is not begun by a signature", () => {
    const signature: StreamEvent = { type: "reasoning", text: "", signature: "x" };
    expect(applyEvent(emptyAnswer(), signature, "1.0", 5)).toMatchObject({ phase: "waiting", reasoning: "" });
  });
});

it("does not change the state that it is given, and shares what did not change", () => {
  const before = Object.freeze(
    fold([START, { type: "sources", items: [{ text: "a" }] }, { type: "tool_call", index: 0 }]),
  );
  const after = applyEvent(before, { type: "text", text: "b" }, "1.3");
  expect(before.text).toBe("");
  for (const name of ["sources", "seams", "toolCalls", "metadata", "start"] as const)
    expect(after[name]).toBe(before[name]);
});

it("merged pieces add up to the same", () => {
  fc.assert(
    fc.property(answer, (events) => {
      const { events: _, cursor: __, ...whole } = fold(events);
      const { events: ___, cursor: ____, ...merged } = fold(merge(events));
      expect(merged).toEqual(whole);
    }),
  );
});

/** As a viewer that catches up gets them. */
function merge(events: StreamEvent[]): StreamEvent[] {
  const merged: StreamEvent[] = [];
  for (const event of events) {
    const last = merged.at(-1);
    if ((event.type === "text" || event.type === "reasoning") && last?.type === event.type)
      merged[merged.length - 1] = { ...last, text: last.text + event.text };
    else merged.push(event);
  }
  return merged;
}

it("never reads the text that it appends to", () => {
  // A state's text is looked at by nobody: an engine may keep it as its pieces. What reads it would call one of these.
  let reads = 0;
  const text = new Proxy(Object("") as object, {
    get(target, name) {
      if (name === Symbol.toPrimitive) return () => "";
      reads++;
      return Reflect.get(target, name) as unknown;
    },
  });
  const state = applyEvent({ ...emptyAnswer(), text: text as unknown as string }, { type: "text", text: "a" }, "1.0");
  expect(state.text).toBe("a");
  expect(reads).toBe(0);
});
