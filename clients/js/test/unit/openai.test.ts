import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ChatChunk, HeadwaterError, accumulateChunks, processSSEStream } from "../../src/index.js";

const chunk = (delta: object, rest: object = {}): ChatChunk => ({
  id: "c-1",
  object: "chat.completion.chunk",
  created: 5,
  model: "m",
  choices: [{ index: 0, delta, finish_reason: null, ...rest }],
});

const HELLO = [
  chunk({ role: "assistant", content: "Hel" }),
  chunk({ content: "lo 🌊" }),
  { ...chunk({}, { finish_reason: "stop" }), usage: { prompt_tokens: 10, completion_tokens: 20 } },
];

const sse = (chunks: unknown[]): string => chunks.map((each) => `id: 1.1\ndata: ${JSON.stringify(each)}\n\n`).join("");

function response(text: string, sizes: number[] = [text.length * 4], init: ResponseInit = {}): Response {
  const bytes = new TextEncoder().encode(text);
  let [at, turn] = [0, 0];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.slice(at, (at += sizes[turn++ % sizes.length]!)));
    },
  });
  return new Response(body, init);
}

async function read(from: Response, signal?: AbortSignal): Promise<ChatChunk[]> {
  const seen: ChatChunk[] = [];
  await processSSEStream(from, (each) => void seen.push(each), signal);
  return seen;
}

describe("processSSEStream", () => {
  it("gives each chunk, in any cutting of the bytes", async () => {
    const text = `: hb\n\n${sse(HELLO)}data: [DONE]\n\ndata: {"after": "the end"}\n\n`;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }), async (sizes) => {
        expect(await read(response(text, sizes))).toEqual(HELLO);
      }),
      { numRuns: 30 },
    );
  });

  it("takes a reason to finish as an end where a server sends no [DONE]", async () => {
    expect(await read(response(sse(HELLO)))).toEqual(HELLO);
  });

  it.each(["", sse(HELLO.slice(0, 2)), ": hb\n\n"])(
    "a body that ends early is no answer (portkey #1797): %j",
    async (text) => {
      await expect(read(response(text))).rejects.toMatchObject({ code: "connection_lost" });
    },
  );

  it("nor one without a body", async () => {
    await expect(read(new Response(null))).rejects.toMatchObject({ code: "connection_lost" });
  });

  it("nor one that breaks", async () => {
    const body = new ReadableStream({ start: (controller) => controller.error(new TypeError("terminated")) });
    await expect(read(new Response(body))).rejects.toMatchObject({ code: "connection_lost" });
  });

  it("an error in the stream is thrown after what came before it", async () => {
    const seen: ChatChunk[] = [];
    const text = sse([HELLO[0], { error: { message: "it is gone", code: "provider_error", type: "server_error" } }]);
    const reading = processSSEStream(response(text), (each) => void seen.push(each));
    await expect(reading).rejects.toMatchObject({
      code: "provider_error",
      message: "it is gone",
      type: "server_error",
    });
    expect(seen).toEqual([HELLO[0]]);
    await expect(read(response(sse([{ error: "plain" }])))).rejects.toMatchObject({ message: "plain", status: 500 });
  });

  it("what is no JSON is told, not passed over", async () => {
    await expect(read(response("data: {oops\n\n"))).rejects.toMatchObject({ code: "unexpected_answer" });
    await expect(read(response("data: 7\n\n"))).rejects.toMatchObject({ code: "unexpected_answer" });
  });

  it("an event that is too large has its code", async () => {
    const endless = response(`data: ${"x".repeat(8 * 2 ** 20)}`);
    await expect(read(endless)).rejects.toMatchObject({ name: "HeadwaterError", code: "frame_too_large" });
  });

  it("throws for an error status", async () => {
    const refused = response(JSON.stringify({ error: { code: "queue_full", message: "too much" } }), undefined, {
      status: 429,
    });
    await expect(read(refused)).rejects.toThrow(HeadwaterError);
  });

  it("stops at once when it is aborted, between chunks and while it waits", async () => {
    const stop = new AbortController();
    let isCancelled = false;
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode(sse([HELLO[0]]))),
      cancel() {
        isCancelled = true;
      },
    });
    const seen: ChatChunk[] = [];
    const reading = processSSEStream(
      new Response(body),
      (each) => (seen.push(each), queueMicrotask(() => stop.abort())),
      stop.signal,
    );
    expect(await reading.catch((error: unknown) => error)).toBe(stop.signal.reason);
    expect(seen).toEqual([HELLO[0]]);
    expect(isCancelled).toBe(true);
    await expect(read(response(sse(HELLO)), AbortSignal.abort("before"))).rejects.toBe("before");
  });
});

describe("accumulateChunks", () => {
  it("is the completion, with its usage", () => {
    expect(accumulateChunks(HELLO)).toEqual({
      id: "c-1",
      object: "chat.completion",
      created: 5,
      model: "m",
      choices: [{ index: 0, message: { role: "assistant", content: "Hello 🌊" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 10, completion_tokens: 20 },
    });
  });

  it("usage may come alone, last", () => {
    const usage = { prompt_tokens: 1 };
    expect(accumulateChunks([chunk({ content: "a" }), { choices: [], usage }, { usage: null }]).usage).toEqual(usage);
  });

  it("a chunk with thoughts and text loses neither (litellm #36327)", () => {
    const both = accumulateChunks([chunk({ reasoning_content: "hm", content: "so" }), chunk({ refusal: "no" })]);
    expect(both.choices[0]!.message).toEqual({
      role: "assistant",
      content: "so",
      reasoning_content: "hm",
      refusal: "no",
    });
  });

  it("tool calls add up by index (litellm #25561)", () => {
    const call = (index: number, rest: object) => chunk({ content: null, tool_calls: [{ index, ...rest }] });
    const { choices } = accumulateChunks([
      call(0, { id: "a", type: "function", function: { name: "weather", arguments: "" } }),
      call(1, { id: "b", function: { name: "clock" } }),
      call(0, { function: { arguments: '{"city":' } }),
      call(0, { function: { arguments: '"Zürich"}' } }),
      call(1, { type: "custom" }),
      chunk({}, { finish_reason: "tool_calls" }),
    ]);
    expect(choices[0]).toEqual({
      index: 0,
      message: {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "a", type: "function", function: { name: "weather", arguments: '{"city":"Zürich"}' } },
          { id: "b", type: "custom", function: { name: "clock", arguments: "" } },
        ],
      },
      finish_reason: "tool_calls",
    });
  });

  it("keeps choices apart, in order", () => {
    const { choices } = accumulateChunks([
      chunk({ content: "b" }, { index: 1 }),
      chunk({ content: "a" }),
      chunk({ content: "B" }, { index: 1 }),
    ]);
    expect(choices.map(({ index, message }) => [index, message.content])).toEqual([
      [0, "a"],
      [1, "bB"],
    ]);
  });

  it("nothing is nothing", () => {
    expect(accumulateChunks([])).toEqual({ id: "", object: "chat.completion", created: 0, model: "", choices: [] });
    expect(accumulateChunks([{ choices: [{ index: 0 }] }]).choices[0]!.message).toEqual({
      role: "assistant",
      content: null,
    });
  });
});
