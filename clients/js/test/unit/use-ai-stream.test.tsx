// @vitest-environment happy-dom
import { act, cleanup, renderHook, waitFor } from "@testing-library/react";
import { StrictMode, createElement, useEffect } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Client, type StreamEvent, createClient } from "../../src/index.js";
import { type AIStream, type UseAIStreamOptions, useAIStream } from "../../src/react/index.js";
import { LogServer } from "../kit/log-server.js";

const START: StreamEvent = { type: "start", stream: "s-1", model: "m", created_ms: 1 };
const DONE: StreamEvent = { type: "done", reason: "stop" };
const text = (piece: string): StreamEvent => ({ type: "text", text: piece });
const ASK = { message: "Hello, AI!", history: [], sessionId: "session-123" };

afterEach(cleanup);

let log: LogServer;
let client: Client;
const told: { chunks: string[]; complete: string[]; errors: string[]; resets: number } = {
  chunks: [],
  complete: [],
  errors: [],
  resets: 0,
};

beforeEach(() => {
  log = new LogServer([START]);
  client = createClient({ baseUrl: "http://log", fetch: log.fetch, backoff: { baseMs: 0 } });
  Object.assign(told, { chunks: [], complete: [], errors: [], resets: 0 });
});

const callbacks: UseAIStreamOptions = {
  onChunk: (chunk) => told.chunks.push(chunk),
  onComplete: (fullText) => told.complete.push(fullText),
  onError: (message) => told.errors.push(message),
  onReset: () => told.resets++,
};

const render = (options: UseAIStreamOptions = {}, wrapper?: typeof StrictMode) =>
  renderHook(() => useAIStream({ client, ...callbacks, ...options }), wrapper ? { wrapper } : {});

const posts = () => log.requests.filter(({ method, path }) => method === "POST" && !path.endsWith("cancel"));

describe.each([
  ["in strict mode", StrictMode],
  ["plainly", undefined],
])("as the reference has it, %s", (_name, wrapper) => {
  it("streams the text, piece by piece, and completes once", async () => {
    const { result } = render({}, wrapper);
    expect(result.current).toMatchObject({ text: "", isStreaming: false, error: null, isComplete: false });
    act(() => void result.current.startStream(ASK));
    expect(result.current).toMatchObject({ isStreaming: true, connection: { status: "connecting" } });
    await waitFor(() => expect(log.open).toBe(1));
    expect(posts()).toMatchObject([{ path: "/api/ai-chat/stream", body: ASK }]);
    act(() => log.append(text("Hel")));
    await waitFor(() => expect(result.current).toMatchObject({ text: "Hel", isStreaming: true, isComplete: false }));
    act(() => log.append(text("lo"), { type: "text", text: "another", choice: 1 }, DONE));
    await waitFor(() =>
      expect(result.current).toMatchObject({ text: "Hello", isStreaming: false, isComplete: true, error: null }),
    );
    expect(told).toEqual({ chunks: ["Hel", "lo"], complete: ["Hello"], errors: [], resets: 0 });
  });

  it("stop stops the generation and keeps the text", async () => {
    const { result } = render({}, wrapper);
    act(() => void result.current.startStream(ASK));
    await waitFor(() => expect(log.open).toBe(1));
    log.append(text("so far"));
    await waitFor(() => expect(result.current.text).toBe("so far"));
    await act(() => result.current.stopStream());
    await waitFor(() =>
      expect(result.current).toMatchObject({ isStreaming: false, isComplete: false, text: "so far" }),
    );
    expect(log.requests.at(-1)!.path).toBe("/v1/streams/s-1/cancel");
    expect(told.complete).toEqual([]);
    expect(told.errors).toEqual([]);
  });

  it("tells errors of the stream, and of what came before it", async () => {
    const { result } = render({}, wrapper);
    act(() => void result.current.startStream(ASK));
    log.append(text("half"), { type: "error", reason: "provider_error", message: "the model is gone" });
    await waitFor(() => expect(result.current).toMatchObject({ error: "the model is gone", text: "half" }));
    log.answers.push(() => Response.json({ statusCode: 400, message: "message is empty" }, { status: 400 }));
    act(() => void result.current.startStream({ message: "" }));
    expect(result.current.error).toBeNull();
    await waitFor(() =>
      expect(result.current).toMatchObject({ error: "message is empty", isStreaming: false, text: "" }),
    );
    expect(told).toMatchObject({ complete: [], errors: ["the model is gone", "message is empty"] });
  });

  it("reset forgets, also from within onComplete", async () => {
    const { result } = render({ onComplete: () => result.current.reset() }, wrapper);
    act(() => void result.current.startStream(ASK));
    await waitFor(() => expect(log.open).toBe(1));
    act(() => log.append(text("Hello"), DONE));
    await waitFor(() => expect(result.current).toMatchObject({ text: "", isStreaming: false, isComplete: false }));
    expect(told.chunks).toEqual(["Hello"]);
  });

  it("an effect that starts asks once", async () => {
    const { result } = renderHook(
      () => {
        const stream = useAIStream({ client, ...callbacks });
        const { startStream } = stream;
        useEffect(() => void startStream(ASK), [startStream]);
        return stream;
      },
      wrapper ? { wrapper } : {},
    );
    await waitFor(() => expect(log.open).toBe(1));
    act(() => log.append(text("Hello"), DONE));
    await waitFor(() => expect(result.current.isComplete).toBe(true));
    expect(posts()).toHaveLength(1);
    expect(told.complete).toEqual(["Hello"]);
  });

  it("unmounting only disconnects", async () => {
    const { result, unmount } = render({}, wrapper);
    act(() => void result.current.startStream(ASK));
    await waitFor(() => expect(log.open).toBe(1));
    unmount();
    await waitFor(() => expect(log.open).toBe(0));
    log.append(text("later"), DONE);
    expect(log.requests.filter(({ path }) => path.endsWith("cancel"))).toEqual([]);
    expect(told).toMatchObject({ complete: [], errors: [] });
  });
});

describe("beyond the reference", () => {
  it("sources, reasoning, tool calls, status, usage", async () => {
    const { result } = render();
    act(() => void result.current.startStream(ASK));
    log.append({ type: "status", stage: "searching" });
    await waitFor(() => expect(result.current.status).toEqual({ type: "status", stage: "searching" }));
    log.append(
      { type: "sources", items: [{ text: "passage" }] },
      { type: "reasoning", text: "hm" },
      { type: "tool_call", index: 0, id: "a", name: "clock" },
      { type: "usage", prompt_tokens: 1, completion_tokens: 2, source: "exact" },
      DONE,
    );
    await waitFor(() => expect(result.current.isComplete).toBe(true));
    expect(result.current).toMatchObject({
      streamId: "s-1",
      sources: [{ text: "passage" }],
      reasoning: "hm",
      toolCalls: [{ name: "clock" }],
      usage: { completion_tokens: 2 },
      connection: { status: "closed" },
    });
    expect(result.current.status).toBeUndefined();
  });

  it("after a reload resume gets the whole answer", async () => {
    log.append(text("Hel"));
    const { result } = render();
    act(() => void result.current.resume("s-1"));
    await waitFor(() => expect(result.current).toMatchObject({ text: "Hel", isStreaming: true, streamId: "s-1" }));
    act(() => log.append(text("lo"), DONE));
    await waitFor(() => expect(result.current).toMatchObject({ text: "Hello", isComplete: true }));
    expect(told.complete).toEqual(["Hello"]);
    expect(posts()).toEqual([]);
  });

  it("resume with a cursor gets the rest; without an id it goes on where it stood", async () => {
    log.append(text("Hel"), text("lo"));
    const { result } = render();
    await expect(result.current.resume()).rejects.toThrow(TypeError);
    act(() => void result.current.resume("s-1", "1.1"));
    await waitFor(() => expect(result.current.text).toBe("lo"));
    log.answers.push(() => new Response("", { status: 401 }));
    log.cut();
    await waitFor(() => expect(result.current.error).toContain("401"));
    expect(result.current).toMatchObject({ text: "lo", isStreaming: false, isComplete: false });
    act(() => void result.current.resume());
    expect(result.current).toMatchObject({ text: "lo", isStreaming: true, error: null });
    log.append(text("!"), DONE);
    await waitFor(() => expect(result.current).toMatchObject({ text: "lo!", isComplete: true }));
    expect(log.cursors).toEqual(["1.1", "1.2", "1.2"]);
  });

  it("tells a reset", async () => {
    const { result } = render();
    log.append(text("all"), DONE);
    act(() => void result.current.resume("s-1", "9.9"));
    await waitFor(() => expect(result.current).toMatchObject({ text: "all", isComplete: true }));
    expect(told).toMatchObject({ resets: 1, chunks: ["all"], complete: ["all"] });
  });

  it("a second question leaves the first", async () => {
    const { result } = render();
    let first: Promise<void> | undefined;
    act(() => void (first = result.current.startStream(ASK)));
    await waitFor(() => expect(log.open).toBe(1));
    act(() => void result.current.startStream({ message: "another" }));
    await first;
    log.append(text("answer"), DONE);
    await waitFor(() => expect(result.current).toMatchObject({ text: "answer", isComplete: true }));
    expect(posts().map(({ body }) => (body as { message: string }).message)).toEqual(["Hello, AI!", "another"]);
    expect(told.complete).toEqual(["answer"]);
  });

  it("a stop that fails says so, and the answer goes on", async () => {
    const { result } = render();
    await act(() => result.current.stopStream()); // nothing to stop
    act(() => void result.current.startStream(ASK));
    await waitFor(() => expect(log.open).toBe(1));
    log.answers.push(() => new Response("", { status: 503 }));
    await act(() => result.current.stopStream());
    expect(result.current).toMatchObject({ isStreaming: true, error: "the server answered with HTTP status 503" });
    log.answers.push(() => new Promise<Response>((_, reject) => setTimeout(reject, 10, new TypeError("late"))));
    const late = result.current.stopStream();
    await Promise.resolve();
    act(() => result.current.reset());
    await late;
    expect(result.current.error).toBeNull();
    expect(told.errors).toHaveLength(1);
  });

  it("calls the callbacks of the last render, and works without any", async () => {
    const seen: string[] = [];
    const { result, rerender } = renderHook((props: UseAIStreamOptions) => useAIStream(props), {
      initialProps: { client, onChunk: () => seen.push("old") } as UseAIStreamOptions,
    });
    const { startStream } = result.current;
    act(() => void startStream(ASK));
    rerender({ client, onChunk: (chunk) => seen.push(chunk) });
    expect(result.current.startStream).toBe(startStream);
    log.append(text("a"));
    await waitFor(() => expect(seen).toEqual(["a"]));
    rerender({ client });
    log.append({ type: "error", reason: "x", message: "y" });
    await waitFor(() => expect(result.current.error).toBe("y"));
    log.events = [START, DONE];
    log.epoch = 2;
    act(() => void result.current.resume("s-1"));
    await waitFor(() => expect(result.current.isComplete).toBe(true));
  });

  it("has a client of its own for the page's origin", async () => {
    vi.stubGlobal("fetch", log.fetch);
    const { result } = renderHook(() => useAIStream());
    act(() => void result.current.startStream(ASK));
    log.append(text("a"), DONE);
    await waitFor(() => expect(result.current).toMatchObject({ text: "a", isComplete: true }));
    act(() => void result.current.resume("s-1"));
    await waitFor(() => expect(result.current.isComplete).toBe(true));
  });

  it("renders on a server", () => {
    let seen: AIStream | undefined;
    const Component = () => {
      seen = useAIStream();
      return null;
    };
    expect(renderToString(createElement(Component))).toBe("");
    expect(seen).toMatchObject({ text: "", isStreaming: false });
  });
});
