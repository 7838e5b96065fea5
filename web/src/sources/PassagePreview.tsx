import type { Source } from "headwater";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { documentText } from "../api/documents";
import { noteFailure } from "../api/server";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { Spinner } from "../ui/controls";
import { placeOf } from "./place";
import { Original, SourceFacts } from "./SourcesPanel";

const AROUND = 1500;
const MORE = 3000;

interface Excerpt {
  readonly start: number;
  readonly end: number;
  readonly before: string;
  readonly passage: string;
  readonly after: string;
  readonly hasMore: boolean;
}

/** The passage as it stands in the document, with the text around it. */
export function PassagePreview({ source }: { readonly source: Source }): ReactNode {
  const t = useTranslate(texts);
  const place = placeOf(source);
  const [reach, setReach] = useState({ before: AROUND, after: AROUND });
  const { excerpt, failed } = useExcerpt(source, reach);
  const mark = useRef<HTMLElement>(null);
  const shown = excerpt !== undefined;
  useEffect(() => {
    if (shown) mark.current?.scrollIntoView({ block: "center" });
  }, [shown]);
  return (
    <div className="passage">
      <h3>{source.title || source.url}</h3>
      <SourceFacts source={source} />
      <Original source={source} />
      {failed ? <p className="passage-note">{t("passageFailed")}</p> : null}
      {!excerpt && !failed && place.document && place.start !== undefined ? (
        <p className="passage-note" role="status">
          <Spinner /> {t("passageLoading")}
        </p>
      ) : null}
      {excerpt && excerpt.start > 0 ? (
        <button
          type="button"
          className="more"
          onClick={() => setReach((now) => ({ ...now, before: now.before + MORE }))}
        >
          {t("earlierText")}
        </button>
      ) : null}
      <div className="passage-text">
        {excerpt?.before}
        <mark ref={mark}>{excerpt?.passage ?? source.text}</mark>
        {excerpt?.after}
      </div>
      {excerpt?.hasMore ? (
        <button type="button" className="more" onClick={() => setReach((now) => ({ ...now, after: now.after + MORE }))}>
          {t("laterText")}
        </button>
      ) : null}
    </div>
  );
}

function useExcerpt(
  source: Source,
  reach: { readonly before: number; readonly after: number },
): { excerpt: Excerpt | undefined; failed: boolean } {
  const [excerpt, setExcerpt] = useState<Excerpt>();
  const [failed, setFailed] = useState(false);
  const { document, version, start, end } = placeOf(source);
  useEffect(() => {
    // A source of another kind is its own text only.
    if (!document || start === undefined || end === undefined) return undefined;
    let left = false;
    documentText(document, Math.max(0, start - reach.before), end + reach.after, version)
      .then((found) => {
        if (left) return;
        setExcerpt(cut(found, start, end));
        setFailed(false);
      })
      .catch((error: unknown) => {
        noteFailure(error);
        if (!left) setFailed(true);
      });
    return () => {
      left = true;
    };
  }, [document, version, start, end, reach]);
  return { excerpt, failed };
}

/** The server counts characters; JavaScript counts UTF-16 units. */
export function cut(
  found: { readonly start: number; readonly end: number; readonly text: string; readonly has_more: boolean },
  start: number,
  end: number,
): Excerpt {
  const characters = Array.from(found.text);
  const from = Math.max(0, start - found.start);
  const to = Math.max(from, end - found.start);
  return {
    start: found.start,
    end: found.end,
    before: characters.slice(0, from).join(""),
    passage: characters.slice(from, to).join(""),
    after: characters.slice(to).join(""),
    hasMore: found.has_more,
  };
}
