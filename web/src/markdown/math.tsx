/** Formulas. KaTeX comes with the first one; until then, and where it cannot read a formula, its source is shown. */

import { memo, useLayoutEffect, useRef, type ReactNode } from "react";
import { useTranslate } from "../i18n";
import type { Typeset } from "./katex";
import { schedule } from "./slices";
import { TEXTS } from "./texts";
import { useLoaded } from "./loaded";

/** Longer formulas are no formulas, and take long. */
const MAX_LENGTH = 10_000;

const load = async (): Promise<Typeset> => (await import("./katex")).typeset;

interface MathProps {
  readonly tex: string;
  readonly source: string;
  readonly display: boolean;
}

export const MathText = memo(function MathText({ tex, source, display }: MathProps): ReactNode {
  const t = useTranslate(TEXTS);
  const place = useRef<HTMLSpanElement>(null);
  const typeset = useLoaded("katex", load);
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    if (!typeset || tex.length > MAX_LENGTH) {
      element.textContent = source;
      return undefined;
    }
    // A formula that still grows is mostly unreadable: what it looked like last stays until it is readable again.
    if (element.childNodes.length === 0) element.textContent = source;
    return schedule(() => {
      if (!typeset(tex, element, display) && element.dataset["typeset"] === undefined) element.textContent = source;
      return false;
    });
  }, [typeset, tex, source, display]);
  const label = display ? { role: "group", tabIndex: 0, "aria-label": t("math") } : {};
  return <span ref={place} className={display ? "md-math-display" : "md-math"} {...label} />;
});
