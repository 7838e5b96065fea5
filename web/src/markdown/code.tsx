/** Blocks of code: plain at once, coloured where the reader looks, in work of bounded length. */

import { Check, Copy } from "lucide-react";
import { memo, useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { useTranslate } from "../i18n";
import { writeClipboard } from "../ui/clipboard";
import type { Code } from "./blocks";
import { Highlighter, type Colored, type ColoredLine } from "./highlight";
import { loadMode, modeName, type Mode } from "./languages";
import { useLoaded } from "./loaded";
import { useNear } from "./near";
import { schedule } from "./slices";
import { TEXTS } from "./texts";

const FEEDBACK_MS = 2000;

export function CodeBlock({ code }: { readonly code: Code }): ReactNode {
  const t = useTranslate(TEXTS);
  const language = /^\S*/.exec(code.info)?.[0] ?? "";
  const highlighter = useHighlighter(language);
  const { runs, open } = code;
  return (
    <div className="md-code">
      <div className="md-code-head">
        <span>{language || t("code")}</span>
        <CopyButton runs={runs} />
      </div>
      <pre tabIndex={0} role="group" aria-label={language ? t("codeIn", { language }) : t("code")}>
        <code>
          {runs.map((text, at) => (
            <CodeRun
              key={at}
              index={at}
              text={text}
              complete={!open || at < runs.length - 1}
              highlighter={highlighter}
            />
          ))}
        </code>
      </pre>
    </div>
  );
}

function useHighlighter(language: string): Highlighter | undefined {
  const name = modeName(language);
  const mode = useLoaded<Mode>(name && `mode ${name}`, () => loadMode(name ?? ""));
  return useMemo(() => (mode ? new Highlighter(mode) : undefined), [mode]);
}

interface CodeRunProps {
  readonly index: number;
  readonly text: string;
  readonly complete: boolean;
  readonly highlighter: Highlighter | undefined;
}

const NONE: Colored = { prefix: "", lines: [] };

const CodeRun = memo(function CodeRun({ index, text, complete, highlighter }: CodeRunProps): ReactNode {
  const place = useRef<HTMLSpanElement>(null);
  const near = useNear(place);
  const [known, setColored] = useState(NONE);
  useLayoutEffect(() => {
    highlighter?.set(index, text, complete);
    if (!highlighter || !near) {
      setColored(NONE);
      return undefined;
    }
    return schedule(() => {
      const next = highlighter.step(index);
      if (next) setColored(next);
      return next === undefined;
    });
  }, [highlighter, index, text, complete, near]);
  const colored = near && text.startsWith(known.prefix) ? known : NONE;
  return (
    <span ref={place} className="md-run" style={{ containIntrinsicBlockSize: `auto ${lineCount(text)}lh` }}>
      {colored.lines.map((line, at) => (
        <CodeLine key={at} line={line} first={at === 0} />
      ))}
      {text.slice(colored.prefix.length)}
    </span>
  );
});

const CodeLine = memo(function CodeLine({ line, first }: { line: ColoredLine; first: boolean }): ReactNode {
  return (
    <>
      {first ? null : "\n"}
      {line.map(({ text, color }, at) => (color ? <span key={at} className={color} children={text} /> : text))}
    </>
  );
});

const lineCount = (text: string): number => (text.match(/\n/g)?.length ?? 0) + 1;

function CopyButton({ runs }: { readonly runs: readonly string[] }): ReactNode {
  const t = useTranslate(TEXTS);
  const [result, setResult] = useState<"copied" | "copyFailed">();
  useEffect(() => {
    if (!result) return undefined;
    const timer = setTimeout(() => setResult(undefined), FEEDBACK_MS);
    return () => clearTimeout(timer);
  }, [result]);
  const copy = (): void => {
    writeClipboard(runs.join("\n")).then(
      () => setResult("copied"),
      () => setResult("copyFailed"),
    );
  };
  return (
    <button
      type="button"
      className="md-copy"
      data-testid="copy-button"
      aria-label={t(result ?? "copyCode")}
      onClick={copy}
    >
      {result === "copied" ? <Check size={14} aria-hidden /> : <Copy size={14} aria-hidden />}
      <span role="status">{result ? t(result) : ""}</span>
      {result ? null : <span aria-hidden>{t("copy")}</span>}
    </button>
  );
}
