/** Where a source stands in its document, as far as its metadata tells (docs/reference/events.md). */

import type { Source } from "headwater";

export interface Place {
  readonly document: string | undefined;
  readonly version: number | undefined;
  readonly start: number | undefined;
  readonly end: number | undefined;
  readonly page: number | undefined;
  readonly section: string;
  readonly pinned: boolean;
  readonly confidential: boolean;
}

export function placeOf(source: Source): Place {
  const facts = source.metadata ?? {};
  const number = (name: string): number | undefined => {
    const value = facts[name];
    return typeof value === "number" ? value : undefined;
  };
  const text = (name: string): string => {
    const value = facts[name];
    return typeof value === "string" ? value : "";
  };
  return {
    document: text("document") || undefined,
    version: number("version"),
    start: number("start"),
    end: number("end"),
    page: number("page"),
    section: text("section"),
    pinned: facts["pinned"] === true,
    confidential: facts["confidential"] === true,
  };
}
