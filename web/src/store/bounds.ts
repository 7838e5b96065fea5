/** How long an answer may get, where the reader has set it: known after a reload and in other tabs, too. */

import { readSetting, writeSetting } from "../settings/stored";

const NAME = "bounds";
/** Answers that are made at once are fewer. */
const KEPT = 20;

type Bound = readonly [stream: string, maxTokens: number];

function read(): readonly Bound[] {
  try {
    const kept: unknown = JSON.parse(readSetting(NAME) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isBound) : [];
  } catch {
    return []; // not of this page
  }
}

const isBound = (value: unknown): value is Bound =>
  Array.isArray(value) && typeof value[0] === "string" && typeof value[1] === "number";

export const boundOf = (stream: string): number | undefined => read().find(([id]) => id === stream)?.[1];

export const keepBound = (stream: string, maxTokens: number): void =>
  write([...read().filter(([id]) => id !== stream), [stream, maxTokens]]);

export function dropBound(stream: string): void {
  const kept = read();
  if (kept.some(([id]) => id === stream)) write(kept.filter(([id]) => id !== stream));
}

const write = (bounds: readonly Bound[]): void =>
  writeSetting(NAME, bounds.length ? JSON.stringify(bounds.slice(-KEPT)) : undefined);
