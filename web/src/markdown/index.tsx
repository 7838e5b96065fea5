/** Markdown that grows, as it is answered. */

import "./markdown.css";
import { memo, useId, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { CiteContext, LabelsContext, PrefixContext } from "./context";
import { useGradual } from "./gradual";
import { GrowingText } from "./parse";
import { Blocks } from "./render";

export interface MarkdownProps {
  readonly text: string;
  /** More text may come: what is unfinished at the end is shown as if it were closed. */
  readonly streaming: boolean;
  /** How many sources `[1]`, `[2]`, … may lead to. */
  readonly citations: number;
  readonly onCite: (n: number) => void;
}

export const Markdown = memo(function Markdown({ text, streaming, citations, onCite }: MarkdownProps): ReactNode {
  const prefix = useId();
  // The parser only ever takes in the text that it is told, so rendering twice, or in vain, does no harm.
  const [growing] = useState(() => new GrowingText());
  const { end, filling } = useGradual(text);
  const { blocks, definitions, footnotes } = growing.parsed(text.slice(0, end), streaming || end < text.length);
  const labels = useMemo(() => ({ definitions, footnotes }), [definitions, footnotes]);
  const latest = useRef(onCite);
  useLayoutEffect(() => {
    latest.current = onCite;
  });
  const cite = useMemo(() => ({ count: citations, onCite: (n: number) => latest.current(n) }), [citations]);
  return (
    <PrefixContext value={prefix}>
      <LabelsContext value={labels}>
        <CiteContext value={cite}>
          <div className={filling ? "md md-filling" : "md"}>
            <Blocks blocks={blocks} />
          </div>
        </CiteContext>
      </LabelsContext>
    </PrefixContext>
  );
});
