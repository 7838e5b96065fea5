/** Streams a long answer into the page's Markdown. Driven by `python -m benchmarks.page`. */

import "../../src/theme.css";
import "./harness.css";
import { useState, type ReactNode } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import { Markdown } from "../../src/markdown";
import { textOf, type Kind } from "./texts";

interface Run {
  readonly kind: Kind;
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

interface After {
  readonly elements: number;
  readonly violations: readonly string[];
}

declare global {
  interface Window {
    /** `run` answers with the milliseconds that each update took to parse and render. */
    harness: { run(options: Run): Promise<number[]>; after(): After };
  }
}

const CHARACTERS_PER_TOKEN = 4;
/** Tokens come in chunks of 8 or so, 25 to 50 ms apart at 200 a second. */
const CHUNK = 8 * CHARACTERS_PER_TOKEN;

let show: (state: { text: string; streaming: boolean }) => void = () => undefined;

function Page(): ReactNode {
  const [{ text, streaming }, set] = useState({ text: "", streaming: false });
  show = set;
  return <Markdown text={text} streaming={streaming} citations={5} onCite={() => undefined} />;
}

const scroller = document.getElementById("root")!;
createRoot(scroller).render(<Page />);
const violations: string[] = [];
document.addEventListener("securitypolicyviolation", ({ violatedDirective, sourceFile, sample }) => {
  violations.push(`${violatedDirective} ${sourceFile} ${sample}`);
});

/** One update a frame, as the page does it; the reader follows the end. */
async function run({ kind, tokens, tokensPerSecond }: Run): Promise<number[]> {
  const text = textOf(kind, tokens);
  const updates: number[] = [];
  const start = performance.now();
  let shown = 0;
  while (shown < text.length) {
    const now = await new Promise<number>(requestAnimationFrame);
    const due = Math.floor(((now - start) / 1000) * tokensPerSecond * CHARACTERS_PER_TOKEN);
    const end = Math.min(text.length, due - (due % CHUNK));
    if (end <= shown) continue;
    shown = end;
    const before = performance.now();
    flushSync(() => show({ text: text.slice(0, shown), streaming: shown < text.length }));
    updates.push(performance.now() - before);
    scroller.scrollTop = scroller.scrollHeight;
  }
  return updates;
}

window.harness = { run, after: () => ({ elements: scroller.querySelectorAll("*").length, violations }) };
