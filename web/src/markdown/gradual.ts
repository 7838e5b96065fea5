/**
 * A long text that is there at once, as of an answer that is opened, taken in by pieces: each is parsed and rendered in
 * a task of its own, and is as large as the machine is fast, so that the page stays quick. What is new of a text that
 * grows is less than a piece.
 */

import { useEffect, useLayoutEffect, useReducer, useRef } from "react";

/** What a piece should take: a fifth of what a reader would feel, as the browser lays out and draws beside it. */
const PIECE_MS = 10;
/** Characters: the first piece, when nothing is known and nothing is compiled yet; and the bounds of the others. */
const FIRST = 2048;
const LEAST = 1024;
export const MOST = 32_768;

/** Of the next piece, of whatever text: what the ones before have shown. */
let piece = FIRST;

export interface Gradual {
  /** Of the text, from its start. */
  readonly end: number;
  /** It was never whole so far: there is nothing yet that a reader could be reading. */
  readonly filling: boolean;
}

/** To be called first in what renders the text: what follows is taken for the rendering's time. */
export function useGradual(text: string): Gradual {
  const begunMs = useRef(0);
  begunMs.current = performance.now();
  const begun = useRef(false);
  const shown = useRef(0);
  const wasWhole = useRef(false);
  const [, goOn] = useReducer((count: number) => count + 1, 0);
  // A long text begins after what is around it.
  const end = text.length > piece && !begun.current ? 0 : Math.min(text.length, shown.current + piece);
  const whole = end === text.length;
  useLayoutEffect(() => {
    begun.current = true;
    const taken = end - shown.current;
    if (taken >= LEAST) piece = pieceAfter(taken, performance.now() - begunMs.current);
    shown.current = end;
    wasWhole.current ||= whole;
  }, [end, whole]);
  useEffect(() => {
    if (whole) return undefined;
    // No frame is waited for: a tab that nobody looks at has none.
    const timer = setTimeout(goOn);
    return () => clearTimeout(timer);
  }, [end, whole]);
  return { end, filling: !whole && !wasWhole.current };
}

/** The size of the next piece, after one that took so long. */
export function pieceAfter(characters: number, tookMs: number): number {
  const wanted = (characters * PIECE_MS) / Math.max(tookMs, 0.1);
  // No more than twice as large: the next part of the text may be dearer.
  return Math.round(Math.min(MOST, 2 * characters, Math.max(LEAST, wanted)));
}
