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
/** Colours and formulas near the reader come after the text. */
const SETTLE_MS = 1000;

let show: (state: { text: string; streaming: boolean }) => void = () => undefined;

function Page(): ReactNode {
  const [{ text, streaming }, set] = useState({ text: "", streaming: false });
  show = set;
  return text ? <Markdown text={text} streaming={streaming} citations={5} onCite={() => undefined} /> : null;
}

const scroller = document.getElementById("root")!;
createRoot(scroller).render(<Page />);
const violations: string[] = [];
document.addEventListener("securitypolicyviolation", ({ violatedDirective, sourceFile, sample }) => {
  violations.push(`${violatedDirective} ${sourceFile} ${sample}`);
});

/** Opened, and waited for until it is whole. */
async function open(text: string): Promise<number[]> {
  const before = performance.now();
  flushSync(() => show({ text, streaming: false }));
  const updates = [performance.now() - before];
  while (document.querySelector(".md-filling")) await new Promise(requestAnimationFrame);
  scroller.scrollTop = scroller.scrollHeight;
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  return updates;
}

/** One update a frame, as the page does it; the reader follows the end. Without a rate it is opened. */
async function run({ kind, tokens, tokensPerSecond }: Run): Promise<number[]> {
  const text = textOf(kind, tokens);
  await new Promise((resolve) => setTimeout(resolve)); // what makes the text is no work of the page's
  if (!tokensPerSecond) return open(text);
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
