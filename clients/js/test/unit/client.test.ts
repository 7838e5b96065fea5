import fc from "fast-check";
import { beforeEach, describe, expect, it, vi } from "vitest";
import {
  type AnswerState,
  type ClientOptions,
  HeadwaterError,
  type Positioned,
  type StreamEvent,
  applyEvent,
  createClient,
  emptyAnswer,
} from "../../src/index.js";
import { answer } from "../kit/arbitraries.js";
import { LogServer } from "../kit/log-server.js";

const START: StreamEvent = { type: "start", stream: "s-1", model: "m", created_ms: 1 };
const DONE: StreamEvent = { type: "done", reason: "stop" };
const text = (piece: string): StreamEvent => ({ type: "text", text: piece });
const HELLO = [START, text("Hel"), text("lo"), DONE];

const clientOf = (log: LogServer, options: ClientOptions = {}) =>
  createClient({ baseUrl: "http://log/", fetch: log.fetch, backoff: { baseMs: 0 }, ...options });

const fold = (items: Positioned[]): AnswerState =>
  items.reduce((state, { event, cursor }) => applyEvent(state, event, cursor), emptyAnswer());

const refuse =
  (status: number, headers: Record<string, string> = {}) =>
  () =>
    Response.json({ error: { code: "told", message: "no" } }, { status, headers });

beforeEach(() => {
  vi.useRealTimers();
});

describe("starting", () => {
  it("posts the body, then follows", async () => {
    const log = new LogServer(HELLO);
    const stream = clientOf(log, { apiKey: "secret" }).start({ model: "m" }, { idempotencyKey: "k" });
    expect(stream.id).toBeUndefined();
    expect(stream.cursor).toBeUndefined();
    expect((await stream.done).text).toBe("Hello");
    expect(stream.id).toBe("s-1");
    expect(stream.cursor).toBe("1.3");
    expect(log.requests.map(({ method, path, body }) => [method, path, body])).toEqual([
      ["POST", "/v1/streams", { model: "m" }],
      ["GET", "/v1/streams/s-1/events", null],
    ]);
    expect(log.requests[0]!.headers).toMatchObject({
      authorization: "Bearer secret",
      "content-type": "application/json",
      "idempotency-key": "k",
    });
    expect(log.requests[1]!.headers).toMatchObject({ authorization: "Bearer secret", accept: "text/event-stream" });
  });

  it("is repeated under one key until it is answered", async () => {
    const log = new LogServer(HELLO);
    const fail = () => Promise.reject(new TypeError("refused"));
    log.answers.push(fail, refuse(502), refuse(503), refuse(504));
    const stream = clientOf(log).start({});
    const seen: string[] = [];
    stream.subscribe(() => seen.push(`${stream.connection.status} ${stream.connection.attempt}`));
    await stream.done;
    const keys = log.requests.slice(0, 5).map(({ headers }) => headers["idempotency-key"]);
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).toMatch(/^[\d-]{16,}$/);
    expect(seen.filter((each, at) => each !== seen[at - 1])).toEqual([
      "connecting 1",
      "connecting 2",
      "connecting 3",
      "connecting 4",
      "open 0",
      "closed 0",
    ]);
  });

  it("has another key each time", async () => {
    const log = new LogServer(HELLO);
    await Promise.all([clientOf(log).start({}).done, clientOf(log).start({}).done]);
    const keys = log.requests
      .filter(({ method }) => method === "POST")
      .map(({ headers }) => headers["idempotency-key"]);
    expect(new Set(keys).size).toBe(2);
  });

  it("gives up after some attempts", async () => {
    const log = new LogServer();
    log.isDown = true;
    const stream = clientOf(log, { backoff: { baseMs: 0, maxStartAttempts: 2 } }).start({});
    await expect(stream.done).rejects.toMatchObject({ code: "connection_lost", status: 0 });
    expect(log.requests).toHaveLength(3);
    expect(stream.connection).toMatchObject({ status: "closed", error: { code: "connection_lost" } });
    const many = clientOf(log).start({});
    await expect(many.done).rejects.toThrow(HeadwaterError);
    expect(log.requests).toHaveLength(3 + 9);
  });

  it.each([400, 401, 403, 404, 422, 429, 500])("a refusal with %i is told at once", async (status) => {
    const log = new LogServer();
    log.answers.push(refuse(status, { "retry-after": "3" }));
    await expect(clientOf(log).start({}).done).rejects.toMatchObject({ status, code: "told", retryAfter: 3 });
    expect(log.requests).toHaveLength(1);
  });

  it("a server that does not name the stream is none of Headwater's", async () => {
    const log = new LogServer();
    log.answers.push(() => Response.json({}));
    await expect(clientOf(log).start({}).done).rejects.toMatchObject({ code: "unexpected_answer" });
    log.answers.push(() => new Response(null, { status: 204 }));
    await expect(clientOf(log).start({}).done).rejects.toMatchObject({ code: "unexpected_answer" });
  });

  it("may be done at any route that names its stream", async () => {
    const log = new LogServer(HELLO);
    await clientOf(log).start({}, { path: "/api/ai-chat/stream" }).done;
    expect(log.requests[0]!.path).toBe("/api/ai-chat/stream");
  });
});

describe("asking", () => {
  it("gives question, answer and stream", async () => {
    const log = new LogServer(HELLO);
    const told = { stream_id: "s-1", question: { id: "q" }, answer: { id: "a" } };
    log.answers.push(refuse(503), () => Response.json(told, { status: 201 }));
    const asked = await clientOf(log).ask("t/1", { content: "hi" });
    expect([asked.question.id, asked.answer.id, asked.stream.id]).toEqual(["q", "a", "s-1"]);
    expect(log.requests[1]).toMatchObject({
      path: "/v1/threads/t%2F1/messages",
      body: { content: "hi", stream: false },
    });
    expect(log.requests[0]!.headers["idempotency-key"]).toBe(log.requests[1]!.headers["idempotency-key"]);
    expect((await asked.stream.done).text).toBe("Hello");
  });

  it("tells a refusal", async () => {
    const log = new LogServer();
    log.answers.push(refuse(409));
    await expect(clientOf(log).ask("t", {})).rejects.toMatchObject({ status: 409 });
  });

  it("can be left", async () => {
    const log = new LogServer();
    await expect(clientOf(log).ask("t", {}, { signal: AbortSignal.abort("left") })).rejects.toBe("left");
    expect(log.requests).toEqual([]);
  });
});

describe("following", () => {
  it("any cut and any chunking give the identical answer, each event once", async () => {
    await fc.assert(
      fc.asyncProperty(
        answer,
        fc.array(fc.nat(400), { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 5 }),
        async (events, cuts, pieces) => {
          const log = new LogServer(events, { cuts, pieces });
          const stream = clientOf(log).follow("s-1");
          const seen: Positioned[] = [];
          for await (const each of stream) seen.push(each);
          expect(seen).toEqual(log.positioned());
          const { reasoningStartedMs: _, reasoningEndedMs: __, ...state } = await stream.done;
          expect({ ...fold(log.positioned()), ...state }).toEqual(fold(log.positioned()));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("resumes after the cursor, and says where", async () => {
    const log = new LogServer([START, text("a")]);
    const stream = clientOf(log).follow("s-1");
    await vi.waitFor(() => expect(stream.state.text).toBe("a"));
    expect(stream.connection).toEqual({ status: "open", attempt: 0 });
    log.cut();
    await vi.waitFor(() => expect(log.cursors).toEqual([null, "1.1"]));
    await vi.waitFor(() => expect(stream.connection).toEqual({ status: "open", attempt: 0, resumedAt: 2 }));
    log.append(text("b"), DONE);
    expect((await stream.done).text).toBe("ab");
  });

  it("goes on from a kept state", async () => {
    const log = new LogServer(HELLO);
    const state = fold(log.positioned().slice(0, 2));
    const stream = clientOf(log).follow("s-1", { state });
    expect(stream.state).toBe(state);
    expect(await stream.done).toEqual(fold(log.positioned()));
    expect(log.cursors).toEqual(["1.1"]);
    expect(stream.connection.resumedAt).toBe(2);
    // One that has ended is asked for nothing.
    expect(await clientOf(log).follow("s-1", { state: await stream.done }).done).toBe(stream.state);
    expect(log.cursors).toHaveLength(1);
  });

  it("204: there is nothing after the cursor", async () => {
    const log = new LogServer(HELLO);
    const stream = clientOf(log).follow("s-1", { after: "1.3" });
    expect(await stream.done).toEqual({ ...emptyAnswer(), phase: "done" });
    expect(stream.connection.status).toBe("closed");
  });

  it("a reset drops what there was; the whole answer follows", async () => {
    const log = new LogServer([START, text("old")]);
    const stream = clientOf(log).follow("s-1");
    await vi.waitFor(() => expect(stream.state.text).toBe("old"));
    log.epoch = 2;
    log.events = [START, text("new")];
    log.cut();
    await vi.waitFor(() => expect(stream.state.text).toBe("new"));
    log.append(DONE);
    expect(await stream.done).toEqual(fold(log.positioned()));
    expect(stream.cursor).toBe("2.2");
  });

  it("tells a reset to whoever reads the events", async () => {
    const log = new LogServer(HELLO);
    const seen: string[] = [];
    for await (const { event, cursor } of clientOf(log).follow("s-1", { after: "9.9" })) seen.push(event.type + cursor);
    expect(seen).toEqual(["reset", "start1.0", "text1.1", "text1.2", "done1.3"]);
  });

  it.each([401, 403, 404, 400, 500])("%i is final", async (status) => {
    const log = new LogServer(HELLO);
    log.answers.push(refuse(status));
    const stream = clientOf(log).follow("s-1");
    await expect(stream.done).rejects.toMatchObject({ status });
    expect(log.requests).toHaveLength(1);
    expect(stream.connection).toMatchObject({ status: "closed", error: { status } });
    const reading = (async () => {
      for await (const _ of stream);
    })();
    await expect(reading).rejects.toMatchObject({ status });
  });

  it.each([408, 425, 429, 502, 503, 504])("after %i it comes back", async (status) => {
    const log = new LogServer(HELLO);
    log.answers.push(refuse(status));
    expect((await clientOf(log).follow("s-1").done).text).toBe("Hello");
    expect(log.requests).toHaveLength(2);
  });

  it("gives up where it is told to", async () => {
    const log = new LogServer();
    log.isDown = true;
    const stream = clientOf(log, { backoff: { baseMs: 0, maxAttempts: 3 } }).follow("s-1");
    await expect(stream.done).rejects.toMatchObject({ code: "connection_lost" });
    expect(log.requests).toHaveLength(4);
  });

  it("what is no event stream, or no event, is final", async () => {
    const log = new LogServer(HELLO);
    const page = () => new Response("<html>", { headers: { "content-type": "text/html" } });
    const sse = (body: string) => () => new Response(body, { headers: { "content-type": "text/event-stream" } });
    for (const wrong of [page, () => new Response(null), sse("data: {oops\n\n"), sse("data: null\n\n")]) {
      log.answers.push(wrong);
      await expect(clientOf(log).follow("s-1").done).rejects.toMatchObject({ code: "unexpected_answer" });
    }
    expect(log.requests).toHaveLength(4);
  });

  it("what came before a wrong event is kept", async () => {
    const log = new LogServer([START, text("so far")]);
    const stream = clientOf(log).follow("s-1");
    await vi.waitFor(() => expect(stream.state.text).toBe("so far"));
    log.send(`id: 1.2\ndata: ${JSON.stringify(text("!"))}\n\ndata: 7\n\n`);
    await expect(stream.done).rejects.toThrow(HeadwaterError);
    expect(stream.state.text).toBe("so far!");
  });

  it("a frame without end is final", async () => {
    const log = new LogServer([START]);
    const stream = clientOf(log).follow("s-1");
    await vi.waitFor(() => expect(log.open).toBe(1));
    log.send(`data: ${"x".repeat(8 * 2 ** 20)}`);
    await expect(stream.done).rejects.toMatchObject({ code: "frame_too_large", retryable: false });
    expect(log.requests).toHaveLength(1);
  });

  it("asks for a key before each request", async () => {
    const log = new LogServer(HELLO, { cuts: [10] });
    const keys = ["one", undefined];
    await clientOf(log, { apiKey: () => keys.shift() }).follow("s-1").done;
    expect(log.requests.map(({ headers }) => headers["authorization"])).toEqual(["Bearer one", undefined]);
  });

  it("a fault of the caller's own is told, not taken for a lost connection", async () => {
    const log = new LogServer(HELLO);
    const fault = new Error("no token");
    const client = clientOf(log, {
      apiKey: () => {
        throw fault;
      },
    });
    await expect(client.follow("s-1").done).rejects.toBe(fault);
    await expect(client.start({}).done).rejects.toBe(fault);
    await expect(clientOf(log).start({ big: 1n }).done).rejects.toThrow(TypeError);
    expect(log.requests).toEqual([]);
  });

  it("tells when thinking was seen, not when it was kept", async () => {
    vi.spyOn(Date, "now").mockReturnValue(1000);
    const log = new LogServer([START]);
    const stream = clientOf(log).follow("s-1");
    await vi.waitFor(() => expect(stream.state.events).toBe(1));
    log.append({ type: "reasoning", text: "hm" });
    await vi.waitFor(() => expect(stream.state.reasoning).toBe("hm"));
    log.append(text("so"), DONE);
    expect(await stream.done).toMatchObject({ reasoningStartedMs: 1000, reasoningEndedMs: 1000 });
    expect((await clientOf(log).follow("s-1").done).reasoningStartedMs).toBeUndefined();
    expect((await clientOf(log).start({}).done).reasoningStartedMs).toBe(1000);
  });
});

describe("leaving", () => {
  it("close only disconnects", async () => {
    const log = new LogServer([START, text("a")]);
    const stream = clientOf(log).follow("s-1");
    await vi.waitFor(() => expect(log.open).toBe(1));
    stream.close();
    expect((await stream.done).text).toBe("a");
    expect(log.open).toBe(0);
    expect(log.requests).toHaveLength(1);
    expect(stream.connection).toEqual({ status: "closed", attempt: 0 });
    stream.close();
  });

  it("a signal's reason is told", async () => {
    const log = new LogServer([START]);
    const leave = new AbortController();
    const stream = clientOf(log).follow("s-1", { signal: leave.signal });
    const reading = (async () => {
      for await (const _ of stream);
    })();
    await vi.waitFor(() => expect(log.open).toBe(1));
    leave.abort("tired");
    await expect(stream.done).rejects.toBe("tired");
    await expect(reading).rejects.toBe("tired");
    expect(log.open).toBe(0);
    expect(stream.connection.error).toBeUndefined();
    await expect(clientOf(log).start({}, { signal: leave.signal }).done).rejects.toBe("tired");
    expect(log.requests).toHaveLength(1);
  });

  it("while it waits for the next attempt, and while it starts", async () => {
    const log = new LogServer();
    log.isDown = true;
    const patient = { backoff: { baseMs: 1e9, capMs: 1e9 } };
    for (const stream of [clientOf(log, patient).follow("s-1"), clientOf(log, patient).start({})]) {
      await vi.waitFor(() => expect(stream.connection.attempt).toBe(1));
      stream.close();
      expect((await stream.done).phase).toBe("waiting");
    }
  });

  it("a loop that is left closes the stream, unless somebody else listens", async () => {
    const log = new LogServer([START, text("a")]);
    const stream = clientOf(log).follow("s-1");
    const stop = stream.subscribe(() => {});
    for await (const _ of stream) break;
    expect(log.open).toBe(1);
    const other = stream[Symbol.asyncIterator]();
    stop();
    const third = stream[Symbol.asyncIterator]();
    log.append(text("b"));
    await third.next();
    await third.return?.();
    expect(log.open).toBe(1);
    await other.next();
    await other.return?.();
    await stream.done;
    expect(log.open).toBe(0);
  });

  it("a loop that waits ends when the stream is closed", async () => {
    const log = new LogServer([START]);
    const stream = clientOf(log).follow("s-1");
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { event } of stream) seen.push(event.type);
    })();
    await vi.waitFor(() => expect(seen).toEqual(["start"]));
    stream.close();
    await reading;
  });
});

describe("cancelling", () => {
  it("stops the generation; the end comes as an event", async () => {
    const log = new LogServer([START, text("so far")]);
    const stream = clientOf(log).follow("s 1");
    await vi.waitFor(() => expect(stream.state.text).toBe("so far"));
    await stream.cancel();
    expect(await stream.done).toMatchObject({ phase: "cancelled", text: "so far" });
    expect(log.requests.at(-1)).toMatchObject({ method: "POST", path: "/v1/streams/s%201/cancel" });
  });

  it("waits for a start that is under way", async () => {
    const log = new LogServer([START]);
    log.answers.push(refuse(503));
    const stream = clientOf(log).start({});
    await stream.cancel();
    expect((await stream.done).phase).toBe("cancelled");
  });

  it("tells why it could not, and the answer goes on", async () => {
    const log = new LogServer([START]);
    const stream = clientOf(log).follow("s-1");
    await vi.waitFor(() => expect(log.open).toBe(1));
    log.answers.push(refuse(503));
    await expect(stream.cancel()).rejects.toMatchObject({ status: 503 });
    log.append(DONE);
    expect((await stream.done).phase).toBe("done");
  });

  it("after close of a start that was never answered it tells so", async () => {
    const log = new LogServer();
    log.isDown = true;
    const stream = clientOf(log).start({});
    stream.close();
    await expect(stream.cancel()).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("requests", () => {
  const asked = async (reply: () => Response | Promise<Response>, ...rest: [unknown?, object?]) => {
    const log = new LogServer();
    log.answers.push(reply);
    const told: unknown = await clientOf(log, { apiKey: "k" }).request("PATCH", "/v1/x", ...rest);
    return { told, sent: log.requests[0]! };
  };

  it("sends and reads JSON, with the key", async () => {
    const { told, sent } = await asked(() => Response.json({ a: 1 }), { b: 2 }, { headers: { "x-priority": "high" } });
    expect(told).toEqual({ a: 1 });
    expect(sent).toMatchObject({ method: "PATCH", path: "/v1/x", body: { b: 2 } });
    expect(sent.headers).toMatchObject({
      authorization: "Bearer k",
      "content-type": "application/json",
      "x-priority": "high",
    });
  });

  it("sends a form as it is, and no body as none", async () => {
    const form = new FormData();
    form.set("a", "b");
    const { sent } = await asked(() => Response.json({}), form);
    expect(sent.body).toBe(form);
    expect(sent.headers["content-type"]).toBeUndefined();
    expect((await asked(() => Response.json({}))).sent.body).toBeNull();
  });

  it("reads text, and nothing", async () => {
    expect((await asked(() => new Response("# A", { headers: { "content-type": "text/markdown" } }))).told).toBe("# A");
    expect((await asked(() => new Response(null, { status: 204 }))).told).toBeUndefined();
  });

  it("throws what it is refused with, once", async () => {
    await expect(asked(refuse(503))).rejects.toMatchObject({ status: 503 });
    await expect(asked(() => Promise.reject(new TypeError("no network")))).rejects.toMatchObject({
      code: "connection_lost",
    });
    const broken = () =>
      new Response(new ReadableStream({ start: (controller) => controller.error(new TypeError("terminated")) }));
    await expect(asked(broken)).rejects.toMatchObject({ code: "connection_lost" });
    const wrong = () => new Response("{oops", { headers: { "content-type": "application/json" } });
    await expect(asked(wrong)).rejects.toMatchObject({ code: "unexpected_answer" });
  });

  it("throws the signal's reason", async () => {
    const leave = new AbortController();
    const never = () => new Promise<Response>((_, reject) => leave.signal.addEventListener("abort", reject));
    const asking = asked(never, undefined, { signal: leave.signal });
    leave.abort("left");
    await expect(asking).rejects.toBe("left");
    const late = () => {
      const stop = new AbortController();
      const body = new ReadableStream({
        pull(controller) {
          stop.abort("late");
          controller.error(new TypeError("aborted"));
        },
      });
      return { response: new Response(body), signal: stop.signal };
    };
    const { response, signal } = late();
    await expect(asked(() => response, undefined, { signal })).rejects.toBe("late");
  });

  it("uses the page's origin and the global fetch by default", async () => {
    expect(() => createClient()).toThrow(TypeError);
    const log = new LogServer();
    vi.stubGlobal("location", { href: "http://log/" });
    vi.stubGlobal("fetch", log.fetch);
    log.answers.push(() => Response.json(7));
    expect(await createClient().request("GET", "/v1/me")).toBe(7);
  });
});

describe("listeners", () => {
  it("are told once a read, and at the end", async () => {
    const log = new LogServer([START, text("a"), text("b")]);
    const stream = clientOf(log).follow("s-1");
    let told = 0;
    const stop = stream.subscribe(() => told++);
    const twice = () => (told += 100);
    stream.subscribe(twice)();
    await vi.waitFor(() => expect(stream.state.text).toBe("ab"));
    expect(told).toBe(2); // open, and the three events
    stop();
    log.append(DONE);
    await stream.done;
    expect(told).toBe(2);
  });

  it("may ask for frames", async () => {
    const frames: (() => void)[] = [];
    vi.stubGlobal("requestAnimationFrame", (frame: () => void) => frames.push(frame));
    const log = new LogServer([START]);
    const stream = clientOf(log).follow("s-1");
    let told = 0;
    stream.subscribe(() => told++, { frame: true });
    for (let at = 1; at < 5; at++) {
      log.append(text("a"));
      await vi.waitFor(() => expect(stream.state.events).toBe(at + 1));
    }
    expect([told, frames.length]).toEqual([0, 1]);
    frames.pop()!();
    expect(told).toBe(1);
    log.append(text("b"));
    await vi.waitFor(() => expect(frames.length).toBe(1));
    log.append(DONE);
    await stream.done;
    expect(told).toBe(2); // the end does not wait for a frame
  });

  it("in a page that nobody sees there are no frames", async () => {
    vi.stubGlobal("requestAnimationFrame", () => expect.unreachable());
    vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "hidden" }));
    const log = new LogServer([START]);
    const stream = clientOf(log).follow("s-1");
    let told = 0;
    stream.subscribe(() => told++, { frame: true });
    await vi.waitFor(() => expect(told).toBe(1));
    stream.close();
  });

  it("that throw do not cut the stream", async () => {
    const log = new LogServer(HELLO);
    const stream = clientOf(log).follow("s-1");
    const faults: unknown[] = [];
    const heard = (error: unknown) => faults.push(error);
    const others = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection").on("unhandledRejection", heard);
    stream.subscribe(() => {
      throw new Error("mine");
    });
    await stream.done;
    await new Promise((resolve) => setTimeout(resolve, 0));
    process.removeAllListeners("unhandledRejection");
    for (const other of others) process.on("unhandledRejection", other);
    expect(faults.length).toBeGreaterThan(0);
    expect(log.requests).toHaveLength(1);
  });
});
