/** Against the real server, in Node. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type AnswerState,
  type AnswerStream,
  type ChatChunk,
  type Client,
  accumulateChunks,
  createClient,
  processSSEStream,
} from "../../src/index.js";
import { Front, SERVER, body, control, scripted } from "../kit/front.js";

describe.skipIf(!SERVER)("the real server", () => {
  let front: Front;
  let client: Client;

  beforeAll(async () => {
    front = await new Front().open();
  });

  afterAll(() => front.close());

  beforeEach(() => {
    client = createClient({ baseUrl: front.url, backoff: { baseMs: 20, capMs: 200 } });
  });

  afterEach(() => {
    front.isDown = false;
  });

  /** What the answer is, from a viewer that was never cut. */
  const whole = (stream: AnswerStream): Promise<AnswerState> =>
    createClient({ baseUrl: SERVER! }).follow(stream.id!).done;

  const characters = (stream: AnswerStream, atLeast: number): Promise<void> =>
    vi.waitFor(() => expect(stream.state.text.length).toBeGreaterThan(atLeast), { timeout: 30_000 });

  it("answers: text, reasoning, tool calls, usage", async () => {
    const stream = client.start(body({ tokens: 50, seed: 1, reasoning: "let me think about it" }));
    const kinds = new Set<string>();
    for await (const { event } of stream) kinds.add(event.type);
    expect(kinds).toEqual(new Set(["start", "reasoning", "text", "usage", "metadata", "done"]));
    const state = await stream.done;
    expect(state.text.length).toBeGreaterThan(100);
    expect(state).toMatchObject({
      phase: "done",
      reasoning: "let me think about it",
      start: { stream: stream.id, model: "scripted" },
      usage: { source: "exact" },
      finish: { reason: "stop" },
    });
    const tools = [{ name: "weather", arguments: { city: "Zürich" } }];
    const called = await client.start(body({ tool_calls: tools })).done;
    expect(called.finish?.reason).toBe("tool_calls");
    expect(called.toolCalls.map(({ name, arguments: text }) => [name, JSON.parse(text)])).toEqual([
      ["weather", { city: "Zürich" }],
    ]);
  });

  it("resumes at any cut, ten times in one answer", async () => {
    const stream = client.start(body({ tokens: 400, delay_ms: 4, seed: 2 }));
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { cursor } of stream) seen.push(cursor);
    })();
    for (let cut = 1; cut <= 10; cut++) {
      await characters(stream, cut * 150);
      front.cut();
    }
    await reading;
    const state = await stream.done;
    expect(state.text).toBe((await whole(stream)).text);
    expect(state.phase).toBe("done");
    expect(stream.connection.resumedAt).toBeGreaterThan(0);
    const seqs = seen.map((cursor) => Number(cursor.split(".")[1]));
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
    expect(new Set(seqs).size).toBe(seqs.length);
  });

  it("a kept state is gone on with", async () => {
    const stream = client.start(body({ tokens: 200, delay_ms: 4, seed: 3 }));
    await characters(stream, 200);
    stream.close();
    const kept = structuredClone(await stream.done);
    expect(kept.phase).toBe("streaming");
    const again = client.follow(stream.id!, { state: kept });
    expect((await again.done).text).toBe((await whole(stream)).text);
    expect((await client.follow(stream.id!, { after: again.cursor! }).done).events).toBe(0); // 204
  });

  it("survives SIGKILL of the server in mid-answer", async () => {
    const script = { tokens: 300, delay_ms: 5, seed: 4 };
    const stream = client.start(body(script, "kept"));
    await characters(stream, 300);
    await control("restart");
    const state = await stream.done;
    expect(state.seams.map(({ stage }) => stage)).toContain("recovering");
    expect(state.text).toBe((await whole(stream)).text);
    // Gone on with from the text so far: the same words, each once.
    expect(state.text).toBe((await client.start(body({ ...script, delay_ms: 0 })).done).text);
  });

  it("one that cannot be gone on with ends as interrupted, and is kept as far as it came", async () => {
    const stream = client.start(body({ tokens: 300, delay_ms: 5, seed: 5 }));
    await characters(stream, 300);
    await control("kill");
    await vi.waitFor(() => expect(stream.connection.status).toBe("reconnecting"));
    await control("start");
    const state = await stream.done;
    expect(state).toMatchObject({ phase: "failed", error: { reason: "interrupted" } });
    expect(state.text).toBe((await whole(stream)).text);
  });

  it("a start that meets no server waits for it, and asks once", async () => {
    front.isDown = true;
    const stream = client.start(body({ tokens: 5, seed: 5 }));
    stream.subscribe(() => {
      if (stream.connection.attempt === 3) front.isDown = false;
    });
    expect((await stream.done).phase).toBe("done");
  });

  it("an unknown cursor is reset: the whole answer follows", async () => {
    const stream = client.start(body({ tokens: 20, seed: 6 }));
    const { text } = await stream.done;
    const seen: string[] = [];
    const again = client.follow(stream.id!, { after: "99.7" });
    for await (const { event } of again) seen.push(event.type);
    expect(seen.slice(0, 2)).toEqual(["reset", "start"]);
    expect((await again.done).text).toBe(text);
  });

  it("cancel stops the generation; leaving does not", async () => {
    const stream = client.start(body({ tokens: 5000, delay_ms: 5, seed: 7 }));
    await characters(stream, 100);
    stream.close();
    const info = () => client.request<{ status: string; viewers: number }>("GET", `/v1/streams/${stream.id}`);
    await vi.waitFor(async () => expect(await info()).toMatchObject({ status: "streaming", viewers: 0 }));
    const again = client.follow(stream.id!);
    await characters(again, 100);
    await again.cancel();
    expect(await again.done).toMatchObject({ phase: "cancelled", finish: { reason: "cancelled" } });
    expect((await info()).status).toBe("cancelled");
    expect((await again.done).text).toBe((await whole(again)).text);
  });

  it("a provider's failure keeps what came before it", async () => {
    const stream = client.start(body({ tokens: 40, fault: "rst_mid", fault_after: 20, seed: 8 }));
    const state = await stream.done;
    expect(state).toMatchObject({ phase: "failed", error: { type: "error", retryable: true } });
    expect(state.text.split(/\s/)).toHaveLength(20);
  });

  it("tells refusals with their code", async () => {
    const unknown = "01890000-0000-7000-8000-000000000000";
    await expect(client.follow(unknown).done).rejects.toMatchObject({ status: 404, code: "stream_not_found" });
    await expect(client.start({ messages: 7 }).done).rejects.toMatchObject({ status: 400, code: "invalid_request" });
    await expect(client.request("GET", "/v1/models/none")).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
      type: "not_found_error",
      param: "model",
    });
    await expect(client.request("GET", "/v1/threads/none")).rejects.toMatchObject({ status: 404, code: "not_found" });
  });

  it("the same key is the same stream", async () => {
    const options = { idempotencyKey: `key-${Math.random()}` };
    const one = client.start(body({ tokens: 5, seed: 9 }), options);
    const two = client.start(body({ tokens: 5, seed: 9 }), options);
    expect((await two.done).text).toBe((await one.done).text);
    expect(two.id).toBe(one.id);
  });

  it("asks in a conversation", async () => {
    const thread = await client.request<{ id: string }>("POST", "/v1/workspaces/default/threads");
    const content = scripted({ tokens: 20, delay_ms: 2, seed: 10 });
    const { question, answer, stream } = await client.ask(thread.id, { content, model: "scripted" });
    expect([question.role, answer.role, answer.parent_id]).toEqual(["user", "assistant", question.id]);
    const stages: string[] = [];
    for await (const { event } of stream) if (event.type === "status") stages.push(event.stage);
    const { text } = await stream.done;
    expect(stages).toContain("generating");
    await vi.waitFor(async () => {
      const kept = await client.request<{ content: string; status: string }>("GET", `/v1/messages/${answer.id}`);
      expect(kept).toMatchObject({ content: text, status: "done" });
    });
    const exported = await client.request<string>("GET", `/v1/threads/${thread.id}/export?format=markdown`);
    expect(exported).toContain(text.split("\n")[0]);
  });

  it("starts at a route of another system, and reads what that format has no word for", async () => {
    const message = scripted({ tokens: 20, seed: 11, reasoning: "let me think" });
    const asked = { message, history: [], sessionId: "s", model: "scripted" };
    const stream = client.start(asked, { path: "/api/ai-chat/stream" });
    expect(await stream.done).toMatchObject({ phase: "done", reasoning: "let me think", usage: { source: "exact" } });
  });

  it("reads chat completions, whole and cut", async () => {
    const ask = (script: object): Promise<Response> =>
      fetch(`${front.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...body(script), stream: true, stream_options: { include_usage: true } }),
      });
    const chunks: ChatChunk[] = [];
    await processSSEStream(await ask({ tokens: 30, seed: 12 }), (chunk) => void chunks.push(chunk));
    const completion = accumulateChunks(chunks);
    const { text } = await client.start(body({ tokens: 30, seed: 12 })).done;
    expect(completion.choices).toEqual([
      { index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" },
    ]);
    expect(completion.usage).toMatchObject({ completion_tokens: 30 });
    const cut = await ask({ tokens: 300, delay_ms: 5, seed: 13 });
    await expect(processSSEStream(cut, () => front.cut())).rejects.toMatchObject({ code: "connection_lost" });
    const stop = new AbortController();
    const left = await ask({ tokens: 300, delay_ms: 5, seed: 14 });
    await expect(processSSEStream(left, () => stop.abort("enough"), stop.signal)).rejects.toBe("enough");
  });
});
