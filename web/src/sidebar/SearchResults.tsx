import { type ReactNode, useEffect, useState } from "react";
import { useStore } from "zustand";
import { searchMessages } from "../api/conversations";
import { noteFailure } from "../api/server";
import type { FoundMessage } from "../api/types";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { setDrawer } from "../store/panels";
import { threadList } from "../store/threads";
import { Spinner } from "../ui/controls";

interface Results {
  readonly query: string;
  readonly hits: readonly FoundMessage[];
}

/** Without the server the titles that are known are searched. */
function inTitles(query: string): FoundMessage[] {
  const words = fold(query).split(/\s+/);
  return threadList
    .getState()
    .threads.filter((thread) => words.every((word) => fold(thread.title).includes(word)))
    .map((thread) => ({ thread, message: null, snippet: { text: thread.title, start: 0, end: 0 } }));
}

const fold = (text: string): string => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

export function SearchResults({ query }: { readonly query: string }): ReactNode {
  const t = useTranslate(texts);
  const leaving = useStore(threadList, (state) => state.leaving);
  const [results, setResults] = useState<Results>();
  useEffect(() => {
    const controller = new AbortController();
    searchMessages(query, controller.signal)
      .then((page) => setResults({ query, hits: page.data }))
      .catch((error: unknown) => {
        if (controller.signal.aborted) return;
        noteFailure(error);
        setResults({ query, hits: inTitles(query) });
      });
    return () => controller.abort();
  }, [query]);
  const hits = results?.hits.filter((hit) => !leaving.has(hit.thread.id)) ?? [];
  const waiting = results?.query !== query;
  return (
    <div className="threads" data-testid="thread-list" aria-busy={waiting}>
      {waiting && !results ? <Spinner /> : null}
      <p className="threads-empty" role="status">
        {!waiting && !hits.length ? t("searchNothing", { query }) : null}
      </p>
      <ul>
        {hits.map((hit) => (
          <Hit key={`${hit.thread.id} ${hit.message?.id ?? ""}`} hit={hit} />
        ))}
      </ul>
    </div>
  );
}

function Hit({ hit }: { readonly hit: FoundMessage }): ReactNode {
  const t = useTranslate(texts);
  const { text, start, end } = hit.snippet;
  const symbols = [...text]; // the server counts characters, not UTF-16 units
  const place = hit.message ? `/m/${hit.message.id}` : "";
  return (
    <li className="search-hit" data-testid="thread-item">
      <a href={`#/t/${hit.thread.id}${place}`} onClick={() => setDrawer(false)}>
        <span className="thread-title">{hit.thread.title || t("untitled")}</span>
        {hit.message ? (
          <span className="snippet">
            {symbols.slice(0, start).join("")}
            <mark>{symbols.slice(start, end).join("")}</mark>
            {symbols.slice(end).join("")}
          </span>
        ) : null}
      </a>
    </li>
  );
}
