/** Figures, durations and times in the reader's language. */

import type { Language } from "./index";

export function formatSeconds(ms: number, language: Language): string {
  if (ms < 100) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds >= 60) {
    const whole = Math.round(seconds);
    return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }
  const digits = seconds < 10 ? (seconds < 1 ? 2 : 1) : 0;
  return `${seconds.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits })} s`;
}

export const formatPercent = (value: number, language: Language): string =>
  value.toLocaleString(language, { style: "percent", maximumFractionDigits: 0 });

/** Small amounts keep two figures that count: $0.0071. */
export function formatCost(amount: number, currency: string, language: Language): string {
  const digits = amount === 0 || amount >= 1 ? 2 : Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(amount))));
  const options = { minimumFractionDigits: 2, maximumFractionDigits: digits };
  try {
    return amount.toLocaleString(language, {
      style: "currency",
      currency,
      currencyDisplay: "narrowSymbol",
      ...options,
    });
  } catch {
    return `${amount.toLocaleString(language, options)} ${currency}`; // not a currency that the browser knows
  }
}

export function formatBytes(bytes: number, language: Language): string {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"] as const;
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const unit = units[step] ?? "byte";
  return (bytes / 1000 ** step).toLocaleString(language, {
    style: "unit",
    unit,
    unitDisplay: "short",
    maximumFractionDigits: step > 1 ? 1 : 0,
  });
}

export function ordinal(n: number, language: Language): string {
  if (language === "fr") return n === 1 ? "1er" : `${n}e`;
  const suffix = { one: "st", two: "nd", few: "rd", other: "th", zero: "th", many: "th" };
  return `${n}${suffix[new Intl.PluralRules("en", { type: "ordinal" }).select(n)]}`;
}

export type Day = "today" | "yesterday" | "lastWeek" | "older";

export function dayOf(time: string, now: Date): Day {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const at = Date.parse(time);
  if (at >= midnight) return "today";
  if (at >= midnight - 86_400_000) return "yesterday";
  return at >= midnight - 7 * 86_400_000 ? "lastWeek" : "older";
}

export const formatTime = (time: string, language: Language): string =>
  new Date(time).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
