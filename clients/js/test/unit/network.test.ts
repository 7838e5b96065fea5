/** Time, network and visibility: with a clock that the test moves, in a page that it makes. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Backoff, type StreamEvent, createClient } from "../../src/index.js";
import { LogServer } from "../kit/log-server.js";

const START: StreamEvent = { type: "start", stream: "s-1", model: "m", created_ms: 1 };
const DONE: StreamEvent = { type: "done", reason: "stop" };

let page: EventTarget;
let view: EventTarget & { visibilityState: string };
let navigator: { onLine: boolean };

beforeEach(() => {
  vi.useFakeTimers();
  page = new EventTarget();
  view = Object.assign(new EventTarget(), { visibilityState: "visible" });
  navigator = { onLine: true };
  vi.stubGlobal("document", view);
  vi.stubGlobal("navigator", navigator);
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
});

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0); // nothing goes on after the end
  vi.useRealTimers();
});

const follow = (log: LogServer, backoff: Backoff = {}) =>
  createClient({ baseUrl: "http://log", fetch: log.fetch, backoff }).follow("s-1");

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

/** Advances until the next request, and tells how long that took, to a millisecond. */
async function untilRequest(log: LogServer): Promise<number> {
  const before = log.requests.length;
  for (let ms = 0; ms < 1_000_000; ms++) {
    await vi.advanceTimersByTimeAsync(ms === 0 ? 0 : 1);
    if (log.requests.length > before) return ms;
  }
  return Infinity;
}

const goOffline = (): void => {
  navigator.onLine = false;
  page.dispatchEvent(new Event("offline"));
};
const goOnline = (): void => {
  navigator.onLine = true;
  page.dispatchEvent(new Event("online"));
};

async function finish(log: LogServer, stream: ReturnType<typeof follow>): Promise<void> {
  log.isDown = false;
  log.append(DONE);
  page.dispatchEvent(new Event("online"));
  await settle();
  expect((await stream.done).phase).toBe("done");
}

describe("back-off", () => {
  it("doubles up to a cap, at random below it (full jitter)", async () => {
    const log = new LogServer([START]);
    log.isDown = true;
    const random = vi.spyOn(Math, "random").mockReturnValue(1);
    const stream = follow(log, { baseMs: 100, capMs: 700 });
    await settle();
    const waits: number[] = [];
    for (let turn = 0; turn < 5; turn++) waits.push(await untilRequest(log));
    expect(waits).toEqual([100, 200, 400, 700, 700]);
    expect(stream.connection).toEqual({ status: "connecting", attempt: 6 });
    random.mockReturnValue(0.5);
    await untilRequest(log); // planned before
    expect(await untilRequest(log)).toBe(350);
    await finish(log, stream);
  });

  it("begins anew after progress: an event, or a heartbeat", async () => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    const log = new LogServer([START]);
    const stream = follow(log, { baseMs: 100 });
    await settle();
    log.cut();
    expect(await untilRequest(log)).toBe(100);
    await settle();
    log.cut(); // nothing came
    expect(await untilRequest(log)).toBe(200);
    await settle();
    log.send(": hb\n\n");
    await settle();
    log.cut();
    expect(await untilRequest(log)).toBe(100);
    await finish(log, stream);
  });

  it("adds what the server asks for, by retry: and Retry-After, within reason", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const log = new LogServer([START]);
    const stream = follow(log);
    await settle();
    log.send("retry: 2500\n\n");
    log.cut(true);
    expect(await untilRequest(log)).toBe(2500);
    const busy = (seconds: string) => () => new Response("", { status: 503, headers: { "retry-after": seconds } });
    await settle();
    log.answers.push(busy("7"), busy("1"), busy("999999999"));
    log.cut();
    expect(await untilRequest(log)).toBe(2500); // it stays in force
    expect(await untilRequest(log)).toBe(7000);
    expect(await untilRequest(log)).toBe(2500);
    expect(await untilRequest(log)).toBe(300_000);
    await finish(log, stream);
  });

  it("ends at once when the page is looked at, or comes back from the cache", async () => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    const log = new LogServer([START]);
    log.isDown = true;
    const stream = follow(log, { baseMs: 1e6, capMs: 1e6 });
    await settle();
    view.visibilityState = "hidden";
    view.dispatchEvent(new Event("visibilitychange"));
    await vi.advanceTimersByTimeAsync(1000);
    expect(log.requests).toHaveLength(1);
    view.visibilityState = "visible";
    view.dispatchEvent(new Event("visibilitychange"));
    await settle();
    expect(log.requests).toHaveLength(2);
    page.dispatchEvent(new Event("pageshow"));
    await settle();
    expect(log.requests).toHaveLength(3);
    page.dispatchEvent(new Event("offline")); // no reason to ask
    await settle();
    expect(log.requests).toHaveLength(3);
    await finish(log, stream);
  });
});

describe("offline", () => {
  it("waits without counting attempts, and is back at once", async () => {
    const log = new LogServer([START]);
    const stream = follow(log, { maxAttempts: 1 });
    await settle();
    expect(stream.connection.status).toBe("open");
    log.isDown = true;
    goOffline();
    await settle();
    expect(log.open).toBe(0); // it does not wait for a socket that will never speak again
    expect(stream.connection).toEqual({ status: "offline", attempt: 0 });
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(stream.connection).toEqual({ status: "offline", attempt: 0 });
    log.isDown = false;
    const before = log.requests.length;
    goOnline();
    await settle();
    expect(log.requests).toHaveLength(before + 1);
    expect(stream.connection).toEqual({ status: "open", attempt: 0, resumedAt: 1 });
    await finish(log, stream);
  });

  it("a server on this machine is there all the same: what the browser says is a hint", async () => {
    const log = new LogServer([START]);
    const stream = follow(log);
    await settle();
    goOffline();
    await settle();
    expect(stream.connection.status).toBe("open");
    expect(log.cursors).toEqual([null, "1.0"]);
    // It restarts meanwhile, and is asked now and then.
    log.isDown = true;
    log.cut();
    await settle();
    expect(stream.connection.status).toBe("offline");
    log.isDown = false;
    expect(await untilRequest(log)).toBe(15_000);
    await settle();
    expect(stream.connection.status).toBe("open");
    await finish(log, stream);
  });

  it("a start waits for the network, too", async () => {
    const log = new LogServer([START, DONE]);
    log.isDown = true;
    navigator.onLine = false;
    const stream = createClient({ baseUrl: "http://log", fetch: log.fetch }).start({});
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(stream.connection.status).toBe("offline");
    log.isDown = false;
    goOnline();
    await settle();
    expect((await stream.done).phase).toBe("done");
  });
});

describe("silence", () => {
  it("of a connection for three heartbeats is its end", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const log = new LogServer([START]);
    const stream = follow(log);
    for (let beat = 0; beat < 10; beat++) {
      await vi.advanceTimersByTimeAsync(15_000);
      log.send(": hb\n\n");
    }
    await vi.advanceTimersByTimeAsync(44_000);
    expect(log.requests).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(log.cursors).toEqual([null, "1.0"]);
    expect(stream.connection).toEqual({ status: "open", attempt: 0, resumedAt: 1 });
    await finish(log, stream);
  });

  it("after sleep the clock has gone on while timers stood still", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const log = new LogServer([START]);
    const stream = follow(log);
    await settle();
    vi.setSystemTime(Date.now() + 8 * 3_600_000);
    expect(await untilRequest(log)).toBeLessThanOrEqual(1_001);
    expect(log.cursors).toEqual([null, "1.0"]);
    await finish(log, stream);
  });

  it("of a server that does not even answer", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const log = new LogServer([START]);
    log.answers.push(
      ({ signal }) =>
        new Promise((_, reject) => signal!.addEventListener("abort", () => reject(signal!.reason as Error))),
    );
    const stream = follow(log);
    await vi.advanceTimersByTimeAsync(47_000);
    expect(log.requests).toHaveLength(2);
    await finish(log, stream);
  });

  it("where fetch knows no signals", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const log = new LogServer([START]);
    let isCancelled = false;
    const body = new ReadableStream({
      cancel() {
        isCancelled = true;
      },
    });
    log.answers.push(() => new Response(body, { headers: { "content-type": "text/event-stream" } }));
    const stream = follow(log);
    await vi.advanceTimersByTimeAsync(47_000);
    expect(log.requests).toHaveLength(2);
    expect(isCancelled).toBe(true);
    await finish(log, stream);
  });
});

it("lets go of page and document at the end", async () => {
  const kept = new Set<string>();
  for (const target of [page, view]) {
    const { addEventListener, removeEventListener } = target;
    target.addEventListener = function (type: string, ...rest: [never]) {
      kept.add(type);
      addEventListener.call(target, type, ...rest);
    };
    target.removeEventListener = function (type: string, ...rest: [never]) {
      kept.delete(type);
      removeEventListener.call(target, type, ...rest);
    };
  }
  vi.stubGlobal("addEventListener", page.addEventListener);
  vi.stubGlobal("removeEventListener", page.removeEventListener);
  const log = new LogServer([START]);
  const stream = follow(log);
  await settle();
  expect(kept).toEqual(new Set(["online", "offline", "pageshow", "visibilitychange"]));
  stream.close();
  await settle();
  expect(kept).toEqual(new Set());
});
