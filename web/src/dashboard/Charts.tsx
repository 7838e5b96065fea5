/** The charts of the last hour or day. */

import { type ReactNode, useMemo } from "react";
import { type Language, useTranslate } from "../i18n";
import { Chart, type Line } from "./Chart";
import { formatBytesRate, formatCores, formatCount, formatMs, formatRate, formatShare, formatSize } from "./format";
import { usePolled } from "./polled";
import type { TimeSeries } from "./shapes";
import { type Key, texts } from "./texts";

/** What reference and documentation promise: set-up below 100 ms, the first chunk below 500 ms, each chunk below 100 ms. */
export const TARGETS = { setup: 100, firstToken: 500, chunkGap: 100 } as const;

interface Panel {
  readonly title: Key;
  readonly hint?: Key;
  /** Metrics with the name of their line; null: its quantiles are the lines. */
  readonly metrics: Readonly<Record<string, Key | null>>;
  readonly format: (value: number | null, language: Language) => string;
  readonly target?: number;
  /** Only of steps that are over: a sum of the one under way would always look like a fall. */
  readonly sums?: true;
}

const PANELS: readonly Panel[] = [
  { title: "firstToken", metrics: { first_token_ms: null }, format: formatMs, target: TARGETS.firstToken },
  { title: "chunkGap", metrics: { chunk_gap_ms: null }, format: formatMs, target: TARGETS.chunkGap },
  { title: "setup", metrics: { setup_ms: null }, format: formatMs, target: TARGETS.setup },
  {
    title: "chartStreams",
    hint: "chartStreamsHint",
    metrics: { streams: "streams", viewers: "viewersLower", queued: "waiting" },
    format: formatCount,
  },
  {
    title: "chartThroughput",
    hint: "chartThroughputHint",
    metrics: { chunks_per_s: "chunks", tokens_per_s: "tokens" },
    format: formatRate,
  },
  { title: "chartBytes", metrics: { bytes_per_s: "bytes" }, format: formatBytesRate },
  {
    title: "chartEnds",
    metrics: { done: "done", failed: "failed", cancelled: "cancelled" },
    format: formatCount,
    sums: true,
  },
  {
    title: "chartEvents",
    metrics: { resumed: "resumed", retries: "retries", fallbacks: "fallbacks", continuations: "continuations" },
    format: formatCount,
    sums: true,
  },
  {
    title: "chartRates",
    hint: "chartRatesHint",
    metrics: {
      completion_rate: "completionLower",
      error_rate: "errorLower",
      reconnection_rate: "reconnectionLower",
    },
    format: formatShare,
  },
  { title: "chartDrops", metrics: { drops: "dropsLower", left_early: "leftLower" }, format: formatCount, sums: true },
  { title: "meanChunk", metrics: { mean_chunk_bytes: "bytes" }, format: formatSize },
  { title: "roundTrip", hint: "roundTripHint", metrics: { rtt_ms: null }, format: formatMs },
  { title: "chartLog", hint: "chartLogHint", metrics: { log_lag_ms: "longestLower" }, format: formatMs },
  { title: "chartCpu", hint: "chartCpuHint", metrics: { cpu_cores: "cores" }, format: formatCores },
  { title: "chartMemory", hint: "chartMemoryHint", metrics: { memory_bytes: "residentLower" }, format: formatSize },
  {
    title: "retransmissions",
    metrics: { retransmissions: "sentAgain", packets_lost: "lostLower" },
    format: formatCount,
    sums: true,
  },
];

export type WindowS = 3600 | 86_400;
const STEPS_S: Readonly<Record<WindowS, number>> = { 3600: 60, 86400: 900 };
/** A day moves slowly, and costs the server more to add up. */
export const EVERY_MS: Readonly<Record<WindowS, number>> = { 3600: 15_000, 86400: 60_000 };

export function Charts({ windowS }: { readonly windowS: WindowS }): ReactNode {
  const t = useTranslate(texts);
  const names = PANELS.flatMap((panel) => Object.keys(panel.metrics));
  const query = `window_s=${windowS}&step_s=${STEPS_S[windowS]}&${names.map((name) => `metric=${name}`).join("&")}`;
  const { value, failed } = usePolled<TimeSeries>(`/v1/metrics/timeseries?${query}`, EVERY_MS[windowS]);
  return (
    <section aria-labelledby="over-time">
      <h2 id="over-time">{t("overTime")}</h2>
      {failed && value ? <p className="stale">{t("stale")}</p> : null}
      {value ? (
        <div className="charts">
          {PANELS.map((panel) => (
            <PanelChart key={panel.title} panel={panel} series={value} />
          ))}
        </div>
      ) : (
        <p className="quiet" aria-busy>
          {t("loading")}
        </p>
      )}
    </section>
  );
}

function PanelChart({ panel, series }: { readonly panel: Panel; readonly series: TimeSeries }): ReactNode {
  const t = useTranslate(texts);
  const lines = useMemo(() => linesOf(panel, series, t), [panel, series, t]);
  return (
    <Chart
      title={t(panel.title)}
      hint={panel.hint ? t(panel.hint) : undefined}
      times={series.times}
      lines={lines}
      format={panel.format}
      target={panel.target}
    />
  );
}

export function linesOf(panel: Pick<Panel, "metrics" | "sums">, series: TimeSeries, t: (key: Key) => string): Line[] {
  return Object.entries(panel.metrics).flatMap(([metric, name]) => {
    const found = series.data.find((one) => one.metric === metric);
    if (!found) return [];
    return Object.entries(found.values).map(([key, values]) => ({
      name: name === null ? key : t(name),
      values: panel.sums ? [...values.slice(0, -1), null] : values,
    }));
  });
}
