/** Alerts, and what the window adds up to by reason, provider and model. */

import { type ReactNode, useId } from "react";
import { useLanguage, useTranslate } from "../i18n";
import { formatCost } from "../i18n/format";
import { EVERY_MS, type WindowS } from "./Charts";
import { formatClock, formatCount, formatMs, formatShare, NOTHING } from "./format";
import { usePolled } from "./polled";
import type { Alert, AlertList, ModelFigures, ProviderFigures, Summary } from "./shapes";
import { texts } from "./texts";

export function Panel({
  title,
  wide = false,
  children,
}: {
  readonly title: string;
  readonly wide?: boolean;
  readonly children: ReactNode;
}): ReactNode {
  const id = useId();
  return (
    <section className={wide ? "panel wide" : "panel"} aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

/** A table that scrolls by itself where it is too wide, also by keyboard. */
export function Rows({
  label,
  heads,
  children,
}: {
  readonly label: string;
  readonly heads: readonly (string | { readonly number: string })[];
  readonly children: ReactNode;
}): ReactNode {
  return (
    <div className="scroller" role="group" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {heads.map((head) => (
              <th
                scope="col"
                key={typeof head === "string" ? head : head.number}
                className={typeof head === "string" ? "" : "number"}
              >
                {typeof head === "string" ? head : head.number}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function Alerts({ firing }: { readonly firing: readonly Alert[] }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const { value } = usePolled<AlertList>("/v1/alerts", 15_000);
  const past = value?.past ?? [];
  return (
    <Panel title={t("alerts")} wide>
      <div role="status" data-testid="alerts">
        {firing.length ? (
          <ul className="alerts">
            {firing.map((alert) => (
              <li key={`${alert.name} ${alert.subject}`} data-testid={`alert-${alert.name}`}>
                <AlertText alert={alert} /> <small>{t("since", { time: formatClock(alert.began_at, language) })}</small>
              </li>
            ))}
          </ul>
        ) : (
          <p className="quiet">{t("noAlerts")}</p>
        )}
      </div>
      {past.length ? (
        <details>
          <summary>{t("pastAlerts")}</summary>
          <ul className="past-alerts">
            {past.map((alert) => (
              <li key={`${alert.name} ${alert.subject} ${alert.began_at}`}>
                <AlertText alert={alert} />{" "}
                <small>
                  {t("fromTo", {
                    from: formatClock(alert.began_at, language),
                    to: formatClock(alert.ended_at ?? alert.began_at, language),
                  })}
                </small>
              </li>
            ))}
          </ul>
        </details>
      ) : null}
    </Panel>
  );
}

function AlertText({ alert }: { readonly alert: Alert }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const told = { ms: formatMs, share: formatShare, "1/h": formatCount }[alert.unit];
  const values = {
    value: told(alert.value, language),
    threshold: told(alert.threshold, language),
    subject: alert.subject,
  };
  return <span>{t(`alert_${alert.name}`, values)}</span>;
}

export function Breakdown({ windowS }: { readonly windowS: WindowS }): ReactNode {
  const t = useTranslate(texts);
  const { value, failed } = usePolled<Summary>(`/v1/metrics/summary?window_s=${windowS}`, EVERY_MS[windowS]);
  if (!value) return <p className="quiet">{t("loading")}</p>;
  return (
    <>
      {failed ? <p className="stale">{t("stale")}</p> : null}
      <div className="panels">
        <Reasons summary={value} />
        <Providers providers={value.providers} />
        <Models models={value.models} />
      </div>
    </>
  );
}

function Reasons({ summary }: { readonly summary: Summary }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const most = Math.max(1, ...summary.reasons.map((one) => one.count));
  return (
    <Panel title={t("reasons")}>
      {summary.reasons.length ? (
        <Rows label={t("reasons")} heads={[t("reason"), { number: t("count") }]}>
          {summary.reasons.map(({ reason, count }) => (
            <tr key={reason} data-testid={`reason-${reason}`}>
              <th scope="row">
                <code>{reason}</code>
                <span className="bar" aria-hidden="true" style={{ inlineSize: `${(100 * count) / most}%` }} />
              </th>
              <td className="number">{formatCount(count, language)}</td>
            </tr>
          ))}
        </Rows>
      ) : (
        <p className="quiet">{t("noErrors")}</p>
      )}
    </Panel>
  );
}

function Providers({ providers }: { readonly providers: readonly ProviderFigures[] }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const heads = [
    t("provider"),
    t("circuit"),
    { number: t("running") },
    { number: t("calls") },
    { number: t("errors") },
    { number: t("firstTokenHead") },
  ];
  if (!providers.length) {
    return (
      <Panel title={t("providers")}>
        <p className="quiet">{t("noProviders")}</p>
      </Panel>
    );
  }
  return (
    <Panel title={t("providers")}>
      <Rows label={t("providers")} heads={heads}>
        {providers.map((one) => (
          <tr key={one.provider} data-testid={`provider-${one.provider}`}>
            <th scope="row">{one.provider}</th>
            <td>
              <span className={`circuit ${one.circuit ?? "gone"}`}>
                {one.circuit === null ? t("circuitGone") : t(`circuit_${one.circuit}`)}
              </span>
            </td>
            <td className="number">{formatCount(one.running, language)}</td>
            <td className="number">{formatCount(one.attempts, language)}</td>
            <td className="number">{formatShare(one.error_rate, language)}</td>
            <td className="number">{formatMs(one.first_token.p95, language)}</td>
          </tr>
        ))}
      </Rows>
    </Panel>
  );
}

function Models({ models }: { readonly models: readonly ModelFigures[] }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const heads = [
    t("model"),
    { number: t("streamsHead") },
    { number: t("promptTokens") },
    { number: t("answerTokens") },
    { number: t("cost") },
  ];
  if (!models.length) {
    return (
      <Panel title={t("models")}>
        <p className="quiet">{t("noModels")}</p>
      </Panel>
    );
  }
  return (
    <Panel title={t("models")}>
      <Rows label={t("models")} heads={heads}>
        {models.map((one) => (
          <tr key={one.model} data-testid={`model-${one.model}`}>
            <th scope="row">{one.model || NOTHING}</th>
            <td className="number">{formatCount(one.streams, language)}</td>
            <td className="number">{formatCount(one.prompt_tokens, language)}</td>
            <td className="number">{formatCount(one.completion_tokens, language)}</td>
            <td className="number">
              {one.cost.length
                ? one.cost.map(({ amount, currency }) => formatCost(amount, currency, language)).join(" + ")
                : t("noPrice")}
            </td>
          </tr>
        ))}
      </Rows>
    </Panel>
  );
}
