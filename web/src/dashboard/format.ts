/** Figures as the dashboard writes them. What was not measured is a dash, never a nought. */

import { formatBytes } from "../i18n/format";
import type { Language } from "../i18n";

export const NOTHING = "–";

type Figure = number | null | undefined;
type Format = (value: Figure, language: Language) => string;

/** Writes what was measured. */
const measured =
  (write: (value: number, language: Language) => string): Format =>
  (value, language) =>
    value === null || value === undefined ? NOTHING : write(value, language);

export const formatMs = measured((ms, language) => {
  if (ms < 1000) return `${ms.toLocaleString(language, { maximumFractionDigits: ms < 10 ? 1 : 0 })} ms`;
  const seconds = ms / 1000;
  return `${seconds.toLocaleString(language, { maximumFractionDigits: seconds < 10 ? 2 : 1 })} s`;
});

export const formatShare = measured((share, language) =>
  share.toLocaleString(language, { style: "percent", maximumFractionDigits: share > 0 && share < 0.1 ? 1 : 0 }),
);

export const formatRate = measured((value, language) =>
  value.toLocaleString(language, { maximumFractionDigits: value < 10 ? 1 : 0 }),
);

export const formatCores = measured((value, language) =>
  value.toLocaleString(language, { maximumFractionDigits: value < 1 ? 2 : 1 }),
);

export const formatBytesRate = measured((value, language) => `${formatBytes(value, language)}/s`);

export const formatSize = measured(formatBytes);

export const formatCount = measured((value, language) => value.toLocaleString(language));

export const formatClock = (time: string | number, language: Language, withSeconds = true): string =>
  new Date(time).toLocaleTimeString(language, {
    hour: "2-digit",
    minute: "2-digit",
    ...(withSeconds ? { second: "2-digit" } : {}),
  });
