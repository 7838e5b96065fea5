import { ArrowLeft, ExternalLink, X } from "lucide-react";
import type { Source } from "headwater";
import { type ReactNode, useEffect, useRef } from "react";
import { useStore } from "zustand";
import { useLanguage, useTranslate } from "../i18n";
import { formatPercent } from "../i18n/format";
import { texts } from "../i18n/texts";
import { closeSources, openSources, panels } from "../store/panels";
import { IconButton } from "../ui/controls";
import { Dialog } from "../ui/Dialog";
import { useMedia, WIDE } from "../ui/hooks";
import { PassagePreview } from "./PassagePreview";
import { placeOf } from "./place";
import "./sources.css";

/** Beside the conversation where there is room, else over it. */
export function SourcesPanel({ onClose }: { readonly onClose: () => void }): ReactNode {
  const t = useTranslate(texts);
  const sources = useStore(panels, (state) => state.sources);
  const wide = useMedia(WIDE);
  if (!sources) return null;
  const inside = <Inside {...sources} />;
  if (!wide) {
    return (
      <Dialog title={t("sourcesTitle")} bare onClose={onClose} className="sheet" testId="sources-panel">
        {inside}
      </Dialog>
    );
  }
  return (
    <aside className="sources-panel" aria-label={t("sourcesTitle")} data-testid="sources-panel">
      {inside}
    </aside>
  );
}

interface InsideProps {
  readonly items: readonly Source[];
  readonly selected: number | undefined;
  readonly document: boolean;
}

function Inside({ items, selected, document }: InsideProps): ReactNode {
  const t = useTranslate(texts);
  const source = selected === undefined ? undefined : items[selected];
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // Who opened it by keyboard goes on in here.
    heading.current?.focus({ preventScroll: true });
  }, [items, selected]);
  return (
    <>
      <header className="sources-head">
        {source && !document ? (
          <IconButton label={t("backToSources")} onClick={() => openSources(items)}>
            <ArrowLeft size={18} />
          </IconButton>
        ) : null}
        <h2 ref={heading} tabIndex={-1}>
          {document ? t("document") : source ? t("cited", { n: (selected ?? 0) + 1 }) : t("sourcesTitle")}
        </h2>
        <IconButton label={t("closeSources")} onClick={closeSources}>
          <X size={18} />
        </IconButton>
      </header>
      {source ? <PassagePreview key={`${source.title} ${selected}`} source={source} /> : <SourceList items={items} />}
    </>
  );
}

function SourceList({ items }: { readonly items: readonly Source[] }): ReactNode {
  return (
    <ol className="source-list">
      {items.map((source, at) => (
        <li key={`${source.id ?? ""}${at}`}>
          <button type="button" className="source-card" onClick={() => openSources(items, at)}>
            <span className="source-number">{at + 1}</span>
            <span className="source-words">
              <strong>{source.title || source.url || `[${at + 1}]`}</strong>
              <SourceFacts source={source} />
              <span className="source-text">{source.text}</span>
            </span>
          </button>
        </li>
      ))}
    </ol>
  );
}

export function SourceFacts({ source }: { readonly source: Source }): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const place = placeOf(source);
  const facts = [
    place.page === undefined ? "" : t("page", { n: place.page }),
    place.section,
    source.score === undefined ? "" : t("score", { value: formatPercent(source.score, language) }),
    place.pinned ? t("pinned") : "",
    place.confidential ? t("confidential") : "",
  ].filter(Boolean);
  return facts.length ? <span className="source-facts">{facts.join(" · ")}</span> : null;
}

/** Only addresses that a browser may be sent to; anything else would be a script. */
export function Original({ source }: { readonly source: Source }): ReactNode {
  const t = useTranslate(texts);
  if (!source.url || !/^https?:\/\//i.test(source.url)) return null;
  return (
    <a className="original" href={source.url} target="_blank" rel="noopener noreferrer">
      <ExternalLink size={14} aria-hidden="true" /> {t("openOriginal")}
    </a>
  );
}
