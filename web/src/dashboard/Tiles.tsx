/** The figures of this moment. */

import type { ReactNode } from "react";
import { useLanguage, useTranslate } from "../i18n";
import { TARGETS } from "./Charts";
import { formatBytesRate, formatCount, formatMs, formatRate, formatShare, formatSize } from "./format";
import type { Duration, Summary } from "./shapes";
import { texts } from "./texts";

export function Tiles({ summary }: { readonly summary: Summary }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const { now, rates, durations, totals } = summary;
  const ended = totals.done + totals.failed;
  return (
    <section aria-labelledby="now">
      <h2 id="now">
        {t("nowTitle")} <small>{t("nowHint")}</small>
      </h2>
      <dl className="tiles">
        <Limited
          name={t("activeStreams")}
          testId="active-streams"
          active={now.streams.active}
          limit={now.streams.limit}
          more={[
            ...Object.entries(now.streams.by_state).map(([state, count]) => `${formatCount(count, language)} ${state}`),
            ...(now.streams.queued ? [t("queued", { n: now.streams.queued })] : []),
          ].join(" · ")}
        />
        <Limited name={t("viewers")} testId="active-viewers" active={now.viewers.active} limit={now.viewers.limit} />
        <Timed
          name={t("firstToken")}
          testId="first-token"
          duration={durations.first_token}
          target={TARGETS.firstToken}
        />
        <Timed name={t("chunkGap")} testId="chunk-gap" duration={durations.chunk_gap} target={TARGETS.chunkGap} />
        <Timed name={t("setup")} testId="setup" duration={durations.setup} target={TARGETS.setup} />
        <Tile
          name={t("tokensRate")}
          testId="tokens-rate"
          value={formatRate(rates.tokens_per_s, language)}
          more={t("settled")}
        />
        <Tile
          name={t("chunksRate")}
          testId="chunks-rate"
          value={formatRate(rates.chunks_per_s, language)}
          more={formatBytesRate(rates.bytes_per_s, language)}
        />
        <Tile
          name={t("errorRate")}
          testId="error-rate"
          value={formatShare(rates.error_rate, language)}
          more={ended ? t("failedOf", { failed: totals.failed, ended }) : t("noneYet")}
        />
        <Tile
          name={t("resumes")}
          testId="resumes"
          value={formatCount(totals.resumed, language)}
          more={t("ofViewers", { n: totals.viewers })}
        />
        <Tile
          name={t("completionRate")}
          testId="completion-rate"
          value={formatShare(rates.completion_rate, language)}
          more={
            ended + totals.cancelled
              ? t("doneOf", { done: totals.done, ended: ended + totals.cancelled })
              : t("noneYet")
          }
        />
        <Tile
          name={t("reconnectionRate")}
          testId="reconnection-rate"
          value={formatShare(rates.reconnection_rate, language)}
          more={t("returnedOf", { returned: totals.resumed + totals.reset, n: totals.viewers })}
        />
        <Tile
          name={t("drops")}
          testId="drops"
          value={formatCount(totals.drops, language)}
          more={t("beforeTheEnd", { n: totals.left_early })}
        />
        <Tile
          name={t("meanChunk")}
          testId="mean-chunk"
          value={formatSize(rates.mean_chunk_bytes, language)}
          more={t("textChunks", { n: totals.texts })}
        />
        <Tile
          name={t("roundTrip")}
          testId="round-trip"
          value={formatMs(durations.rtt.mean, language)}
          unit={durations.rtt.mean === null ? undefined : t("mean")}
          more={
            durations.rtt.p95 === null
              ? (summary.network ?? t("noneYet"))
              : t("quantiles95", {
                  p95: formatMs(durations.rtt.p95, language),
                  p99: formatMs(durations.rtt.p99, language),
                })
          }
        />
        <Tile
          name={t("retransmissions")}
          testId="retransmissions"
          value={formatCount(totals.retransmissions, language)}
          more={
            totals.packets_lost === null
              ? (summary.network ?? t("noneYet"))
              : t("packetsLost", { n: totals.packets_lost })
          }
        />
        <Tile name={t("chartMemory")} testId="memory" value={formatSize(now.memory_bytes, language)} />
        {now.disk ? (
          <Tile
            name={t("disk")}
            testId="disk"
            value={formatShare(1 - now.disk.free_bytes / now.disk.size_bytes, language)}
            more={t("freeOf", {
              free: formatSize(now.disk.free_bytes, language),
              size: formatSize(now.disk.size_bytes, language),
            })}
          />
        ) : null}
      </dl>
    </section>
  );
}

interface TileProps {
  readonly name: string;
  readonly testId: string;
  readonly value: string;
  readonly unit?: string | undefined;
  readonly more?: ReactNode;
  readonly children?: ReactNode;
}

function Tile({ name, testId, value, unit, more, children }: TileProps): ReactNode {
  return (
    <div className="tile" data-testid={testId}>
      <dt>{name}</dt>
      <dd>
        <strong>{value}</strong>
        {unit ? <span className="unit"> {unit}</span> : null}
        {children}
        {more ? <span className="more-of-it">{more}</span> : null}
      </dd>
    </div>
  );
}

interface LimitedProps {
  readonly name: string;
  readonly testId: string;
  readonly active: number;
  readonly limit: number;
  readonly more?: string;
}

function Limited({ name, testId, active, limit, more }: LimitedProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  return (
    <Tile name={name} testId={testId} value={formatCount(active, language)} unit={t("ofLimit", { limit })} more={more}>
      <meter aria-label={name} min={0} max={limit} high={0.8 * limit} optimum={0} value={active} />
    </Tile>
  );
}

interface TimedProps {
  readonly name: string;
  readonly testId: string;
  readonly duration: Duration;
  readonly target: number;
}

function Timed({ name, testId, duration, target }: TimedProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const ms = (value: number | null): string => formatMs(value, language);
  if (duration.p95 === null) return <Tile name={name} testId={testId} value={ms(null)} more={t("noneYet")} />;
  const over = duration.p95 > target;
  return (
    <Tile name={name} testId={testId} value={ms(duration.p95)} unit={t("p95")}>
      <span className="more-of-it">{t("quantiles", { p50: ms(duration.p50), p99: ms(duration.p99) })}</span>
      <span className={over ? "more-of-it over" : "more-of-it"}>
        {t(over ? "overTarget" : "withinTarget", { target: ms(target) })}
      </span>
    </Tile>
  );
}
