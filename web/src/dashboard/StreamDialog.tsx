/** One stream over time. */

import type { ReactNode } from "react";
import { useLanguage, useTranslate } from "../i18n";
import { Dialog } from "../ui/Dialog";
import { ConnectionRows } from "./Connections";
import {
  formatBytesRate,
  formatClock,
  formatCount,
  formatMs,
  formatRate,
  formatShare,
  formatSize,
  NOTHING,
} from "./format";
import { Rows } from "./Panels";
import { usePolled } from "./polled";
import type { Mark, StreamMetrics, StreamTimeline } from "./shapes";
import { texts } from "./texts";

const EVERY_MS = 1000;
const CHART_HEIGHT = 120;
/** Marks that are worth a line in the chart: what happened to the answer, not who looked at it. */
const BESIDE = new Set(["attached", "resumed", "reset", "left"]);

export function StreamDialog({ id, onClose }: { readonly id: string; readonly onClose: () => void }): ReactNode {
  const t = useTranslate(texts);
  const { value, failed } = usePolled<StreamTimeline>(`/v1/streams/${encodeURIComponent(id)}/timeline`, EVERY_MS);
  return (
    <Dialog title={t("timeline", { id })} onClose={onClose} className="stream-dialog" testId="stream-dialog">
      <div className="dialog-body">
        {value ? <Whole stream={value} /> : <p className="quiet">{failed ? t("unknownStream") : t("loading")}</p>}
        {value ? <Figures id={id} /> : null}
      </div>
    </Dialog>
  );
}

function Whole({ stream }: { readonly stream: StreamTimeline }): ReactNode {
  const t = useTranslate(texts);
  return (
    <>
      <Facts stream={stream} />
      {stream.recorded ? <Chunks stream={stream} /> : <p className="quiet">{t("notRecorded")}</p>}
      {stream.marks.length ? <Marks marks={stream.marks} /> : null}
      {stream.attempts.length ? <Attempts stream={stream} /> : null}
      {stream.viewers.length ? (
        <section>
          <h3>{t("watching")}</h3>
          <ConnectionRows connections={stream.viewers} />
        </section>
      ) : null}
    </>
  );
}

function Facts({ stream }: { readonly stream: StreamTimeline }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const facts: [string, string][] = [
    [t("status"), stream.status],
    [t("model"), stream.model || NOTHING],
    [t("provider"), stream.provider || NOTHING],
    [t("dialect"), stream.dialect],
    [t("started"), formatClock(stream.created_at, language)],
    [t("ended"), stream.finished_at ? formatClock(stream.finished_at, language) : NOTHING],
    [t("events"), formatCount(stream.events, language)],
    ...(stream.usage ? [[t("tokens"), formatCount(stream.usage.completion_tokens, language)] as [string, string]] : []),
    ...(stream.error ? [[t("reason"), `${stream.error.reason}: ${stream.error.message}`] as [string, string]] : []),
  ];
  return <FactList facts={facts} />;
}

/** What was measured of all who watched it, by the names of StreamMetrics. */
function Figures({ id }: { readonly id: string }): ReactNode {
  const { value } = usePolled<StreamMetrics>(`/v1/connections/${encodeURIComponent(id)}/metrics`, EVERY_MS);
  return value ? <FiguresOf metrics={value} /> : null;
}

export function FiguresOf({ metrics }: { readonly metrics: StreamMetrics }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const { performance, quality, network } = metrics;
  const { latency } = performance;
  const ms = (value: number | null | undefined): string => formatMs(value, language);
  const facts: [string, string][] = [
    [t("chunksHead"), formatCount(performance.totalChunks, language)],
    [t("bytesHead"), formatSize(performance.totalBytes, language)],
    [t("meanChunk"), formatSize(performance.averageChunkSize, language)],
    [t("chunksRate"), formatRate(performance.chunksPerSecond, language)],
    [t("bytesRate"), formatBytesRate(performance.bytesPerSecond, language)],
    [
      t("chunkGap"),
      latency
        ? t("latencies", {
            min: ms(latency.min),
            average: ms(latency.average),
            max: ms(latency.max),
            p95: ms(latency.p95),
            p99: ms(latency.p99),
          })
        : NOTHING,
    ],
    [t("completionRate"), formatShare(quality.completionRate, language)],
    [t("errorRate"), formatShare(quality.errorRate, language)],
    [t("reconnectionRate"), formatShare(quality.reconnectionRate, language)],
    [t("took"), ms(quality.averageStreamDuration)],
    [t("drops"), formatCount(network.connectionDrops, language)],
    [t("roundTrip"), ms(network.averageRTT)],
    [t("retransmissions"), formatCount(network.retransmissions, language)],
    [t("lostHead"), formatCount(network.packetsLost, language)],
  ];
  return (
    <section data-testid="stream-figures">
      <h3>{t("figures")}</h3>
      <FactList facts={facts} />
      {network.reason ? <p className="quiet">{network.reason}</p> : null}
    </section>
  );
}

function Chunks({ stream }: { readonly stream: StreamTimeline }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const width = stream.bucket_ms ?? 1;
  const lastMark = Math.max(0, ...stream.marks.filter((mark) => !BESIDE.has(mark.kind)).map((mark) => mark.at_ms));
  const wholeMs = Math.max(stream.chunks.length * width, lastMark, width);
  const most = Math.max(1, ...stream.chunks);
  const total = stream.chunks.reduce((sum, count) => sum + count, 0);
  const label = t("chunksLabel", {
    total,
    most: Math.max(0, ...stream.chunks),
    seconds: formatMs(wholeMs, language),
    bucket: formatMs(width, language),
  });
  return (
    <section>
      <h3>{t("chunksOverTime")}</h3>
      <svg
        className="chunks"
        role="img"
        aria-label={label}
        viewBox={`0 0 1000 ${CHART_HEIGHT}`}
        preserveAspectRatio="none"
      >
        {stream.chunks.map((count, place) => {
          const height = (CHART_HEIGHT * count) / most;
          const x = (1000 * place * width) / wholeMs;
          return (
            <rect
              key={place}
              x={x}
              y={CHART_HEIGHT - height}
              width={Math.max(1, (1000 * width) / wholeMs - 1)}
              height={height}
            />
          );
        })}
        {stream.marks
          .filter((mark) => !BESIDE.has(mark.kind))
          .map((mark, number) => (
            <line
              key={number}
              className={mark.kind}
              x1={(1000 * mark.at_ms) / wholeMs}
              x2={(1000 * mark.at_ms) / wholeMs}
              y1={0}
              y2={CHART_HEIGHT}
            />
          ))}
      </svg>
      <p className="axis" aria-hidden="true">
        <span>{formatMs(0, language)}</span>
        <span>{formatMs(wholeMs, language)}</span>
      </p>
      <details>
        <summary>{t("asTable")}</summary>
        <Rows label={t("chunksOverTime")} heads={[t("at"), { number: t("chunks") }]}>
          {stream.chunks.map((count, place) => (
            <tr key={place}>
              <th scope="row">{formatMs(place * width, language)}</th>
              <td className="number">{formatCount(count, language)}</td>
            </tr>
          ))}
        </Rows>
      </details>
    </section>
  );
}

function Marks({ marks }: { readonly marks: readonly Mark[] }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  return (
    <section>
      <h3>{t("marks")}</h3>
      <Rows label={t("marks")} heads={[t("at"), t("what"), t("detail")]}>
        {marks.map((mark, number) => (
          <tr key={number}>
            <th scope="row">{formatMs(mark.at_ms, language)}</th>
            <td>
              <code>{mark.kind}</code>
            </td>
            <td>{mark.detail ?? ""}</td>
          </tr>
        ))}
      </Rows>
    </section>
  );
}

function Attempts({ stream }: { readonly stream: StreamTimeline }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  return (
    <section>
      <h3>{t("attempts")}</h3>
      <Rows
        label={t("attempts")}
        heads={[t("provider"), t("model"), t("outcome"), { number: t("began") }, { number: t("took") }]}
      >
        {stream.attempts.map((one, number) => (
          <tr key={number}>
            <th scope="row">{one.provider}</th>
            <td>{one.model}</td>
            <td>{one.reason ? `${one.outcome}: ${one.reason}` : one.outcome}</td>
            <td className="number">{formatMs(one.began_ms, language)}</td>
            <td className="number">{formatMs(one.duration_ms, language)}</td>
          </tr>
        ))}
      </Rows>
    </section>
  );
}

function FactList({ facts }: { facts: [string, string][] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
