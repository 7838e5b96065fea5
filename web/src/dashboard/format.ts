/** Figures as the dashboard writes them. What was not measured is a dash, never a nought. */

import { formatBytes } from "../i18n/format";
import type { Language } from "../i18n";

export const NOTHING = "–";

export function formatMs(ms: number | null | undefined, language: Language): string {
  if (ms === null || ms === undefined) return NOTHING;
  if (ms < 1000) return `${ms.toLocaleString(language, { maximumFractionDigits: ms < 10 ? 1 : 0 })} ms`;
  const seconds = ms / 1000;
  return `${seconds.toLocaleString(language, { maximumFractionDigits: seconds < 10 ? 2 : 1 })} s`;
}

export function formatShare(share: number | null | undefined, language: Language): string {
  if (share === null || share === undefined) return NOTHING;
  return share.toLocaleString(language, { style: "percent", maximumFractionDigits: share > 0 && share < 0.1 ? 1 : 0 });
}

export function formatRate(value: number | null | undefined, language: Language): string {
  if (value === null || value === undefined) return NOTHING;
  return value.toLocaleString(language, { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function formatBytesRate(value: number | null | undefined, language: Language): string {
  return value === null || value === undefined ? NOTHING : `${formatBytes(value, language)}/s`;
}

export const formatSize = (value: number | null | undefined, language: Language): string =>
  value === null || value === undefined ? NOTHING : formatBytes(value, language);

export const formatCount = (value: number | null | undefined, language: Language): string =>
  value === null || value === undefined ? NOTHING : value.toLocaleString(language);

export const formatClock = (time: string | number, language: Language, withSeconds = true): string =>
  new Date(time).toLocaleTimeString(language, {
    hour: "2-digit",
    minute: "2-digit",
    ...(withSeconds ? { second: "2-digit" } : {}),
  });
