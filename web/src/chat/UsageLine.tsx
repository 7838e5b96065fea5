import { memo, type ReactNode } from "react";
import type { Message } from "../api/types";
import { type Language, type Translate, useLanguage, useTranslate } from "../i18n";
import { formatCost, formatPercent, formatSeconds } from "../i18n/format";
import { type TextKey, texts } from "../i18n/texts";
import { useFold } from "../store/folds";

const number = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;

/** Figures of an answer that has ended, as far as they were told. */
export interface Figures {
  readonly firstTokenMs: number | undefined;
  readonly durationMs: number | undefined;
  readonly tokens: number | undefined;
  readonly tokensPerSecond: number | undefined;
  readonly cost: { readonly amount: number; readonly currency: string; readonly estimated: boolean } | undefined;
}

export function figuresOf(metadata: Message["metadata"], usage: Message["usage"]): Figures {
  const firstTokenMs = number(metadata["first_token_ms"]);
  const durationMs = number(metadata["duration_ms"]);
  const tokens = usage?.completion_tokens;
  // From the first token to the end; one write has no rate.
  const writingMs = durationMs === undefined ? 0 : durationMs - (firstTokenMs ?? 0);
  const told = metadata["cost"] as { amount?: unknown; currency?: unknown; source?: unknown } | null | undefined;
  const amount = number(told?.amount);
  return {
    firstTokenMs,
    durationMs,
    tokens,
    tokensPerSecond: tokens && tokens > 1 && writingMs >= 50 ? (tokens / writingMs) * 1000 : undefined,
    cost:
      amount === undefined
        ? undefined
        : { amount, currency: String(told?.currency ?? "USD"), estimated: told?.source === "estimated" },
  };
}

interface UsageLineProps {
  readonly metadata: Message["metadata"];
  readonly usage: Message["usage"];
}

export const UsageLine = memo(function UsageLine({ metadata, usage }: UsageLineProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const figures = figuresOf(metadata, usage);
  const parts = partsOf(figures, usage, t, language);
  if (!parts.length) return null;
  const time = formatSeconds(figures.durationMs ?? 0, language);
  const title =
    usage && figures.durationMs !== undefined
      ? t("usageTitle", {
          prompt: usage.prompt_tokens,
          completion: usage.completion_tokens,
          total: usage.prompt_tokens + usage.completion_tokens,
          time,
        })
      : undefined;
  return (
    <ul className="usage" title={title}>
      {parts.map((part) => (
        <li key={part}>{part}</li>
      ))}
    </ul>
  );
});

function partsOf(figures: Figures, usage: Message["usage"], t: Translate<TextKey>, language: Language): string[] {
  const { firstTokenMs, durationMs, tokens, tokensPerSecond, cost } = figures;
  const parts: string[] = [];
  if (!tokens) return parts; // nothing was written: there is nothing to measure
  parts.push((usage?.source === "estimated" ? "≈ " : "") + t("tokens", { n: tokens }));
  if (tokensPerSecond !== undefined) parts.push(t("rate", { n: Math.round(tokensPerSecond) }));
  if (firstTokenMs !== undefined) parts.push(t("firstToken", { time: formatSeconds(firstTokenMs, language) }));
  if (durationMs !== undefined) parts.push(formatSeconds(durationMs, language));
  if (cost) parts.push((cost.estimated ? "≈ " : "") + formatCost(cost.amount, cost.currency, language));
  return parts;
}

interface SignalsProps {
  /** The message's id. */
  readonly of: string;
  readonly metadata: Message["metadata"];
}

/** How sure the answer is, and how much of it its sources support: where the server could tell. */
export const Signals = memo(function Signals({ of, metadata }: SignalsProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const [open, setOpen] = useFold(`${of} unsupported`);
  const confidence = number(metadata["confidence"]);
  const hallucination = number(metadata["hallucination"]);
  const sentences = Array.isArray(metadata["unsupported"]) ? metadata["unsupported"].map(String) : [];
  if (confidence === undefined && hallucination === undefined) return null;
  return (
    <div className="signals">
      {confidence === undefined ? null : (
        <span className="chip">{t("confidence", { value: formatPercent(confidence, language) })}</span>
      )}
      {hallucination === undefined ? null : sentences.length ? (
        <details className="unsupported" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
          <summary className={hallucination > 0.3 ? "chip warning" : "chip"} title={t("unsupportedTitle")}>
            {t("unsupported", { value: formatPercent(hallucination, language) })}
          </summary>
          <p>{t("unsupportedList")}</p>
          <ul>
            {sentences.map((sentence) => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
        </details>
      ) : (
        <span className="chip" title={t("unsupportedTitle")}>
          {hallucination ? t("unsupported", { value: formatPercent(hallucination, language) }) : t("supported")}
        </span>
      )}
    </div>
  );
});
