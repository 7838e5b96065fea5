/** Several tabs, which here are several clients in one process, with Node's BroadcastChannel. */

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type AnswerStream,
  type ClientOptions,
  type Positioned,
  type StreamEvent,
  createClient,
} from "../../src/index.js";
import { answer } from "../kit/arbitraries.js";
import { Locks } from "../kit/locks.js";
import { LogServer } from "../kit/log-server.js";

const START: StreamEvent = { type: "start", stream: "s-1", model: "m", created_ms: 1 };
const DONE: StreamEvent = { type: "done", reason: "stop" };
const text = (piece: string): StreamEvent => ({ type: "text", text: piece });

let locks: Locks;
let streams = 0;

beforeEach(() => {
  locks = new Locks();
  vi.stubGlobal("navigator", { locks, onLine: true });
});

afterEach(async () => {
  await vi.waitFor(() => expect(locks.size).toBe(0), { timeout: 3000 });
});

/** Each test has a stream of its own, so that late messages of one are none of another's. */
const newStream = (): string => `s-${streams++}`;

function tab(log: LogServer, id: string, options: ClientOptions & { after?: string } = {}): AnswerStream {
  const { after, ...rest } = options;
  const client = createClient({
    baseUrl: "http://log",
    fetch: log.fetch,
    backoff: { baseMs: 0 },
    share: true,
    ...rest,
  });
  return client.follow(id, after ? { after } : {});
}

const texts = (tabs: AnswerStream[]): string[] => tabs.map(({ state }) => state.text);

describe("one connection for all", () => {
  it("of seven tabs", async () => {
    const log = new LogServer();
    const id = newStream();
    const tabs = Array.from({ length: 7 }, () => tab(log, id));
    await vi.waitFor(() => expect(tabs.map(({ connection }) => connection.status)).toEqual(Array(7).fill("open")));
    expect(log.open).toBe(1);
    log.append(START);
    for (let at = 0; at < 20; at++) {
      log.append(text(`${at} `));
      await vi.waitFor(() => expect(new Set(texts(tabs)).size).toBe(1));
    }
    expect(log.requests).toHaveLength(1);
    expect(tabs.map(({ connection }) => connection.status)).toEqual(Array(7).fill("open"));
    log.append(DONE);
    const states = await Promise.all(tabs.map(({ done }) => done));
    expect(new Set(states.map((state) => JSON.stringify({ ...state }))).size).toBe(1);
    expect(log.requests).toHaveLength(1);
  });

  it("who joins late catches up by itself, then lets go of its connection", async () => {
    const log = new LogServer([START, text("a")]);
    const id = newStream();
    const first = tab(log, id);
    await vi.waitFor(() => expect(first.state.text).toBe("a"));
    const second = tab(log, id);
    await vi.waitFor(() => expect(second.state.text).toBe("a"));
    await vi.waitFor(() => expect(log.open).toBe(1)); // also while nothing comes
    log.append(text("b"), DONE);
    expect(await Promise.all([first.done, second.done])).toMatchObject([{ text: "ab" }, { text: "ab" }]);
    expect(log.requests).toHaveLength(2);
  });

  it("who joins where the others are needs none", async () => {
    const log = new LogServer([START, text("a")]);
    const id = newStream();
    const first = tab(log, id);
    await vi.waitFor(() => expect(first.state.text).toBe("a"));
    const second = tab(log, id, { after: "1.1" });
    await vi.waitFor(() => expect(second.connection.status).toBe("open"));
    log.append(text("b"), DONE);
    await first.done;
    expect((await second.done).text).toBe("b");
    expect(log.requests).toHaveLength(1);
  });

  it("when the leader leaves, the next one reads on after its own cursor", async () => {
    const log = new LogServer([START, text("a")]);
    const id = newStream();
    const tabs = [tab(log, id)];
    await vi.waitFor(() => expect(texts(tabs)).toEqual(["a"]));
    tabs.push(tab(log, id, { after: "1.1" }), tab(log, id, { after: "1.1" }));
    await vi.waitFor(() => expect(tabs.map(({ connection }) => connection.status)).toEqual(Array(3).fill("open")));
    tabs[0]!.close();
    await vi.waitFor(() => expect(log.cursors).toEqual([null, "1.1"]));
    log.append(text("b"));
    await vi.waitFor(() => expect(texts(tabs)).toEqual(["a", "b", "b"]));
    expect(log.open).toBe(1);
    log.append(DONE);
    await Promise.all(tabs.map(({ done }) => done));
    expect(log.requests).toHaveLength(2);
  });

  it("all are told how the connection is", async () => {
    const log = new LogServer([START]);
    const id = newStream();
    const slow = { backoff: { baseMs: 1e9, capMs: 1e9 } };
    const tabs = [tab(log, id, slow), tab(log, id, slow)];
    await vi.waitFor(() => expect(tabs.map(({ connection }) => connection.status)).toEqual(["open", "open"]));
    log.isDown = true;
    log.cut();
    await vi.waitFor(() =>
      expect(tabs.map(({ connection }) => connection)).toEqual(Array(2).fill({ status: "reconnecting", attempt: 1 })),
    );
    expect(log.requests).toHaveLength(2);
    for (const each of tabs) each.close();
    await Promise.all(tabs.map(({ done }) => done));
  });

  it("a reset is everybody's", async () => {
    const log = new LogServer([START, text("old")]);
    const id = newStream();
    const tabs = [tab(log, id), tab(log, id)];
    await vi.waitFor(() => expect(texts(tabs)).toEqual(["old", "old"]));
    log.epoch = 2;
    log.events = [START, text("new")];
    log.cut();
    await vi.waitFor(() => expect(texts(tabs)).toEqual(["new", "new"]));
    log.append(DONE);
    expect(await Promise.all(tabs.map(({ done }) => done))).toMatchObject(Array(2).fill({ text: "new", events: 3 }));
  });

  it("a refusal is final for each", async () => {
    const log = new LogServer();
    const no = () => new Response("", { status: 404 });
    log.answers.push(no, no, no);
    const id = newStream();
    const tabs = [tab(log, id), tab(log, id), tab(log, id)];
    for (const { done } of tabs) await expect(done).rejects.toMatchObject({ status: 404 });
  });

  it("stop in one tab is seen in all", async () => {
    const log = new LogServer([START, text("a")]);
    const id = newStream();
    const tabs = [tab(log, id), tab(log, id)];
    await vi.waitFor(() => expect(texts(tabs)).toEqual(["a", "a"]));
    await tabs[1]!.cancel();
    expect(await Promise.all(tabs.map(({ done }) => done))).toMatchObject(Array(2).fill({ phase: "cancelled" }));
  });
});

describe("a leader that says nothing", () => {
  /** Holds the lock as a frozen tab does: for good, without a word. */
  const freeze = (id: string): (() => void) => {
    const { request } = locks;
    let thaw = (): void => {};
    vi.spyOn(locks, "request").mockImplementation((name, options, held) => {
      void request(
        name,
        { signal: new AbortController().signal },
        () => new Promise<void>((resolve) => (thaw = resolve)),
      );
      vi.mocked(locks.request).mockRestore();
      return request(name, options, held);
    });
    void id;
    return () => thaw();
  };

  it("is not waited for", async () => {
    const log = new LogServer([START, text("a")]);
    const id = newStream();
    const thaw = freeze(id);
    const stream = tab(log, id);
    await vi.waitFor(() => expect(stream.state.text).toBe("a"), { timeout: 3000 });
    // The lock comes while it reads by itself: the connection stays, and is shared from now on.
    thaw();
    const second = tab(log, id, { after: "1.1" });
    log.append(text("b"));
    await vi.waitFor(() => expect(texts([stream, second])).toEqual(["ab", "b"]), { timeout: 3000 });
    log.append(DONE);
    await Promise.all([stream.done, second.done]);
    expect(log.requests.length).toBeLessThanOrEqual(2);
  });

  it("falls silent: whoever follows reads by itself, until it speaks again", async () => {
    const log = new LogServer([START]);
    const id = newStream();
    const leader = tab(log, id);
    await vi.waitFor(() => expect(leader.state.events).toBe(1));
    const follower = tab(log, id, { after: "1.0", silenceMs: 600 });
    await vi.waitFor(() => expect(log.open).toBe(2), { timeout: 5000 });
    expect(log.requests).toHaveLength(2);
    log.append(text("a"));
    await vi.waitFor(() => expect(texts([leader, follower])).toEqual(["a", "a"]));
    await vi.waitFor(() => expect(log.open).toBe(1));
    // Heartbeats are passed on, so that silence means something.
    for (let beat = 0; beat < 6; beat++) {
      log.send(": hb\n\n");
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect(log.requests).toHaveLength(2);
    log.append(DONE);
    await Promise.all([leader.done, follower.done]);
  });
});

describe("messages that fit nowhere", () => {
  it("are left alone: late, repeated, of another epoch, of a gap", async () => {
    const log = new LogServer([START, text("a"), text("b"), text("c")]);
    const id = newStream();
    let channel: BroadcastChannel | undefined;
    const Real = globalThis.BroadcastChannel;
    vi.stubGlobal(
      "BroadcastChannel",
      class extends Real {
        constructor(name: string) {
          super(name);
          channel ??= new Real(name);
        }
      },
    );
    const tabs = [tab(log, id), tab(log, id, { after: "1.3" })];
    await vi.waitFor(() => expect(tabs.map(({ connection }) => connection.status)).toEqual(["open", "open"]));
    const say = (after: string, batch: Positioned[]): void =>
      channel!.postMessage({ after, batch, atMs: undefined, status: "open", attempt: 0 });
    say("1.1", log.positioned(2).slice(0, 1)); // late
    say("0.9", [{ event: text("old epoch"), cursor: "0.10" }]);
    say("1.7", [{ event: text("after a gap"), cursor: "1.8" }]);
    await vi.waitFor(() => expect(log.requests.length).toBeGreaterThan(1)); // it makes sure of what is missing
    log.append(text("d"), DONE);
    expect(await Promise.all(tabs.map(({ done }) => done))).toMatchObject([{ text: "abcd" }, { text: "d" }]);
    channel!.close();
  });
});

describe("where the browser cannot share", () => {
  it.each(["BroadcastChannel", "crypto", "navigator"])("without %s each tab has its own connection", async (name) => {
    const real = globalThis.crypto;
    vi.stubGlobal(name, name === "crypto" ? { getRandomValues: real.getRandomValues.bind(real) } : undefined);
    const log = new LogServer([START]);
    const id = newStream();
    const tabs = [tab(log, id), tab(log, id)];
    await vi.waitFor(() => expect(log.open).toBe(2));
    log.append(DONE);
    await Promise.all(tabs.map(({ done }) => done));
  });

  it("nor with another key: what one may see is not another's", async () => {
    const log = new LogServer([START]);
    const id = newStream();
    const tabs = [tab(log, id, { apiKey: "a" }), tab(log, id, { apiKey: "b" })];
    await vi.waitFor(() => expect(log.open).toBe(2));
    log.append(DONE);
    await Promise.all(tabs.map(({ done }) => done));
  });
});

it("any order of joining, leaving, cutting and appending gives each tab the identical answer", async () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("append"), n: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("join"), n: fc.nat(20) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("leave"), n: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("cut"), n: fc.constant(0) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("pause"), n: fc.nat(3) }) },
  );
  await fc.assert(
    fc.asyncProperty(answer, fc.array(step, { maxLength: 30 }), async (events, steps) => {
      const id = newStream();
      const rest = [...events];
      const log = new LogServer(rest.splice(0, 1));
      const joined: { stream: AnswerStream; seen: Positioned[]; from: number; reading: Promise<void> }[] = [];
      const join = (from: number): void => {
        const stream = tab(log, id, from ? { after: `1.${from - 1}` } : {});
        const seen: Positioned[] = [];
        const reading = (async () => {
          for await (const each of stream) seen.push(each);
        })();
        joined.push({ stream, seen, from, reading });
      };
      join(0);
      for (const { do: what, n } of steps) {
        if (what === "append") log.append(...rest.splice(0, n));
        else if (what === "join") join(Math.min(n, log.events.length));
        else if (what === "leave") joined[n % joined.length]!.stream.close();
        else if (what === "cut") log.cut();
        else await new Promise((resolve) => setTimeout(resolve, n));
      }
      log.append(...rest);
      await Promise.all(joined.map(({ reading }) => reading));
      for (const { stream, seen, from } of joined) {
        const whole = log.positioned(from);
        // Who left has a beginning of it.
        expect(seen).toEqual(whole.slice(0, seen.length));
        if (stream.state.finish ?? stream.state.error) expect(seen).toEqual(whole);
      }
      expect(log.open).toBe(0);
    }),
    { numRuns: 60 },
  );
});
