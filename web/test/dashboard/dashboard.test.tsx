import { cleanup, render, screen, within } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { linesOf } from "../../src/dashboard/Charts";
import { formatMs, formatShare, NOTHING } from "../../src/dashboard/format";
import { type Live, watchFigures } from "../../src/dashboard/live";
import { ConnectionRows } from "../../src/dashboard/Connections";
import type { Connection, Duration, StreamMetrics, Summary } from "../../src/dashboard/shapes";
import { FiguresOf } from "../../src/dashboard/StreamDialog";
import { Tiles } from "../../src/dashboard/Tiles";
import { setLanguage } from "../../src/i18n";

const nothing: Duration = { count: 0, mean: null, p50: null, p95: null, p99: null, max: null, min: null };
const summary = (durations: Partial<Summary["durations"]> = {}, more: Partial<Summary> = {}): Summary => ({
  at: "2026-01-01T00:00:00.000Z",
  window_s: 60,
  covered_s: 60,
  now: {
    streams: { active: 3, limit: 2000, queued: 2, queue_limit: 1000, by_state: { streaming: 3 } },
    viewers: { active: 4, limit: 10_000 },
    memory_bytes: 150_000_000,
    disk: { size_bytes: 1_000_000_000, free_bytes: 250_000_000 },
  },
  totals: {
    started: 1,
    recovered: 0,
    done: 3,
    failed: 1,
    cancelled: 0,
    viewers: 5,
    resumed: 2,
    reset: 0,
    left_early: 0,
    retries: 0,
    fallbacks: 0,
    hedges: 0,
    continuations: 0,
    chunks: 10,
    text_bytes: 10,
    sent_bytes: 100,
    prompt_tokens: 1,
    completion_tokens: 1,
    texts: 8,
    drops: 1,
    retransmissions: null,
    packets_lost: null,
  },
  rates: {
    chunks_per_s: 12.34,
    bytes_per_s: null,
    tokens_per_s: null,
    streams_per_s: 0,
    error_rate: 0.25,
    completion_rate: 0.75,
    reconnection_rate: 0.4,
    mean_chunk_bytes: 4.5,
  },
  durations: {
    setup: nothing,
    first_token: nothing,
    chunk_gap: nothing,
    duration: nothing,
    rtt: nothing,
    ...durations,
  },
  reasons: [],
  providers: [],
  models: [],
  network: "nobody measured it",
  ...more,
});

afterEach(() => {
  cleanup();
  setLanguage("auto");
  vi.unstubAllGlobals();
});

describe("figures", () => {
  it("are a dash where nothing was measured, never a nought", () => {
    expect(formatMs(null, "en")).toBe(NOTHING);
    expect(formatShare(undefined, "en")).toBe(NOTHING);
    expect(formatMs(0, "en")).toBe("0 ms");
  });

  it("are short, with the digits that count", () => {
    expect(formatMs(3.26, "en")).toBe("3.3 ms");
    expect(formatMs(719.4, "en")).toBe("719 ms");
    expect(formatMs(1234, "en")).toBe("1.23 s");
    expect(formatShare(0.0123, "en")).toBe("1.2%");
    expect(formatShare(0.25, "fr")).toMatch(/^25\s%$/u);
  });
});

describe("tiles", () => {
  it("show streams and viewers against their limits", () => {
    render(<Tiles summary={summary()} />);
    const streams = within(screen.getByTestId("active-streams"));
    expect(streams.getByText("3")).toBeDefined();
    expect(streams.getByText("of 2,000")).toBeDefined();
    expect(streams.getByText("3 streaming · 2 waiting")).toBeDefined();
    expect(screen.getByTestId("error-rate").textContent).toContain("1 of 4 streams");
    expect(screen.getByTestId("memory").textContent).toContain("150 MB");
    expect(screen.getByTestId("disk").textContent).toContain("75%250 MB of 1 GB free");
    cleanup();
    const { now } = summary();
    render(<Tiles summary={summary({}, { now: { ...now, disk: null } })} />);
    expect(screen.queryByTestId("disk")).toBeNull();
  });

  it("say when a target is missed, and nothing where nothing was measured", () => {
    const slow = { ...nothing, count: 9, p50: 90, p95: 501, p99: 900 };
    render(<Tiles summary={summary({ first_token: slow, chunk_gap: { ...slow, p95: 100 } })} />);
    expect(screen.getByTestId("first-token").textContent).toContain("above the target of 500 ms");
    expect(screen.getByTestId("chunk-gap").textContent).not.toContain("above");
    expect(screen.getByTestId("setup").textContent).toContain(`${NOTHING}nothing measured`);
  });
});

describe("figures of connections", () => {
  const text = (testId: string): string => screen.getByTestId(testId).textContent ?? "";

  it("are tiles, and say why where there are none", () => {
    render(<Tiles summary={summary()} />);
    expect(text("completion-rate")).toContain("75%3 of 4 streams");
    expect(text("reconnection-rate")).toContain("40%2 of 5 viewers came back");
    expect(text("drops")).toContain("10 left before the end");
    expect(text("mean-chunk")).toContain("8 chunks of text");
    expect(text("round-trip")).toContain(`${NOTHING}nobody measured it`);
    expect(text("retransmissions")).toContain(`${NOTHING}nobody measured it`);
  });

  it("show the network where it is measured", () => {
    const totals = { ...summary().totals, retransmissions: 7, packets_lost: 2 };
    const rtt = { ...nothing, count: 3, mean: 12.5, p95: 20, p99: 30 };
    render(<Tiles summary={summary({ rtt }, { network: null, totals })} />);
    expect(text("round-trip")).toContain("13 ms mean");
    expect(text("round-trip")).toContain("p95 20 ms · p99 30 ms");
    expect(text("retransmissions")).toContain("72 of them lost");
  });

  const connection: Connection = {
    id: "01a21bcf-d66a-v1",
    streamId: "01a21bcf-d66a-7000-8000-000000000000",
    status: "streaming",
    provider: "p",
    model: "m",
    dialect: "events",
    clientId: "tab-1",
    metadata: {
      userAgent: "curl/8",
      ip: "10.0.0.7",
      connectedAt: "2026-01-01T00:00:00.000Z",
      lastActivity: "2026-01-01T00:00:01.000Z",
      bytesReceived: 2048,
      chunksReceived: 17,
      averageLatency: 40,
    },
    lag: 2,
    resumed: true,
    network: { rtt: 12.5, retransmissions: 3 },
  };

  it("stand in the row of each", () => {
    render(<ConnectionRows connections={[connection]} />);
    const row = text("connection");
    for (const told of ["curl/8", "tab-1 · 10.0.0.7 · came back", "17", "2 kB", "40 ms", "2 events", "13 ms", "3"]) {
      expect(row).toContain(told);
    }
  });

  it("are a dash in the row of one that nobody carries", () => {
    const { lag: _lag, resumed: _resumed, network: _network, ...made } = connection;
    const { userAgent, ip, connectedAt, lastActivity } = made.metadata;
    const bare = { userAgent, ip, connectedAt, lastActivity };
    render(<ConnectionRows connections={[{ ...made, viewers: 0, metadata: bare }]} />);
    const cells = within(screen.getByTestId("connection")).getAllByRole("cell");
    expect(cells.slice(-6).map((cell) => cell.textContent)).toEqual(Array.from({ length: 6 }, () => NOTHING));
    expect(text("connection")).toContain("0 clients");
  });

  it("are told of one stream by the names of the reference", () => {
    const latency = { min: 1, max: 80, average: 20, p95: 70, p99: 79 };
    const metrics: StreamMetrics = {
      connectionId: "s",
      period: { start: "2026-01-01T00:00:00.000Z", end: "2026-01-01T00:00:10.000Z" },
      performance: { totalChunks: 24, totalBytes: 240, averageChunkSize: 10, chunksPerSecond: 2.4, latency },
      quality: { reconnectionRate: 0.5 },
      network: { connectionDrops: 2, packetsLost: null, retransmissions: null, averageRTT: null, reason: "no reason" },
    };
    render(<FiguresOf metrics={metrics} />);
    const told = text("stream-figures");
    for (const one of ["24", "1 ms to 80 ms, mean 20 ms, p95 70 ms, p99 79 ms", "50%", "no reason"]) {
      expect(told).toContain(one);
    }
  });
});

describe("lines of a chart", () => {
  const series = {
    step_s: 60,
    times: [0, 60],
    data: [
      { metric: "done", unit: "1", values: { value: [4, 1] } },
      { metric: "setup_ms", unit: "ms", values: { p50: [1, null], p95: [2, null] } },
    ],
  };
  const t = (key: string): string => key;

  it("are the quantiles, or named as they are told", () => {
    expect(linesOf({ metrics: { setup_ms: null } }, series, t).map((line) => line.name)).toEqual(["p50", "p95"]);
    expect(linesOf({ metrics: { done: "done" } }, series, t)).toEqual([{ name: "done", values: [4, 1] }]);
  });

  it("leave the step under way out of sums, and a metric that is not told out of all", () => {
    expect(linesOf({ metrics: { done: "done", other: "failed" }, sums: true }, series, t)).toEqual([
      { name: "done", values: [4, null] },
    ]);
  });
});

describe("the live stream", () => {
  const event = (data: unknown): string => `event: metadata\ndata: ${JSON.stringify({ type: "metadata", data })}\n\n`;
  const answer = (text: string): Response => new Response(text, { status: 200 });

  it("takes every event for the whole, whatever pieces it comes in, and begins again at its end", async () => {
    const stop = new AbortController();
    const told: Partial<Live>[] = [];
    const replies = [answer(event({ alerts: [] })), answer(event({ alerts: [1] }))];
    vi.stubGlobal(
      "fetch",
      vi.fn(() => Promise.resolve(replies.shift() ?? answer(""))),
    );
    await watchFigures((change) => {
      told.push(change);
      if (told.length === 3) stop.abort();
    }, stop.signal);
    expect(told.map((change) => change.state)).toEqual(["open", "reconnecting", "open"]);
    expect(told[2]?.figures?.alerts).toEqual([1]);
  });

  it("lets go of an answer that it does not understand", async () => {
    const stop = new AbortController();
    const cancelled = vi.fn(() => stop.abort());
    const start = (controller: ReadableStreamDefaultController): void =>
      controller.enqueue(new TextEncoder().encode("event: metadata\ndata: {oops\n\n"));
    const asked = vi.fn(() => Promise.resolve(new Response(new ReadableStream({ start, cancel: cancelled }))));
    vi.stubGlobal("fetch", asked);
    await watchFigures(() => {}, stop.signal);
    expect(cancelled).toHaveBeenCalledOnce();
    expect(asked).toHaveBeenCalledOnce();
  });

  it.each([
    [403, [{ state: "refused" }]],
    [401, []],
    [404, [{ state: "off" }]],
  ])("stops asking after %i", async (status, expected) => {
    const asked = vi.fn(() => Promise.resolve(new Response("{}", { status })));
    vi.stubGlobal("fetch", asked);
    const told: Partial<Live>[] = [];
    await watchFigures((change) => told.push(change), new AbortController().signal);
    expect(told).toEqual(expected);
    expect(asked).toHaveBeenCalledTimes(1);
  });
});
