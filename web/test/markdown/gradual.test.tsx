import { act, cleanup, render } from "@testing-library/react";
import type { ReactElement } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Markdown } from "../../src/markdown";
import { MOST, pieceAfter } from "../../src/markdown/gradual";

const LINE = `${"A line of an answer that was kept. ".repeat(10)}\n\n`;
const text = LINE.repeat(Math.ceil((6 * MOST) / LINE.length));
/** The least that any machine renders at once. */
const PIECES = Math.ceil(text.length / 1024);

const shown = (content: string, streaming = false): ReactElement => (
  <Markdown text={content} streaming={streaming} citations={0} onCite={() => undefined} />
);
const lengthOf = (container: Element): number => container.querySelectorAll("p").length * LINE.length;
const isFilling = (container: Element): boolean => container.querySelector(".md-filling") !== null;

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

it("renders a long text by pieces, each in a task of its own, and shows it when it is whole", () => {
  const { container } = render(shown(text));
  const lengths = [lengthOf(container)];
  for (let task = 0; isFilling(container); task += 1) {
    expect(task).toBeLessThan(PIECES);
    act(() => void vi.runOnlyPendingTimers());
    lengths.push(lengthOf(container));
  }
  expect(lengths.at(-1)).toBe(text.length);
  lengths.forEach((length, at) => expect(length - (lengths[at - 1] ?? 0)).toBeLessThanOrEqual(MOST + LINE.length));
  expect(vi.getTimerCount()).toBe(0);
});

it("shows a short text, and what a text grows by, at once", () => {
  const { container, rerender } = render(shown(LINE, true));
  let content = LINE;
  while (content.length < MOST) {
    content += LINE.repeat(2);
    rerender(shown(content, true));
    expect(lengthOf(container)).toBe(content.length);
    expect(isFilling(container)).toBe(false);
  }
});

it("hides nothing that was there when much comes at once", () => {
  const { container, rerender } = render(shown(LINE, true));
  rerender(shown(text, true));
  expect(lengthOf(container)).toBeLessThan(text.length);
  expect(isFilling(container)).toBe(false);
  for (let task = 0; vi.getTimerCount(); task += 1) act(() => void vi.runOnlyPendingTimers());
  expect(lengthOf(container)).toBe(text.length);
});

it("begins again with another text, and stops when it is taken away", () => {
  const { container, rerender, unmount } = render(shown(text));
  rerender(shown(""));
  expect(container.querySelector(".md")?.textContent).toBe("");
  rerender(shown(text));
  expect(vi.getTimerCount()).toBe(1);
  unmount();
  expect(vi.getTimerCount()).toBe(0);
});

it.each([
  ["twice as much at most", 2048, 0, 4096],
  ["as much as the time allows", 8192, 40, 2048],
  ["what keeps the time", 8192, 10, 8192],
  ["never too little to end", 2048, 500, 1024],
  ["never too much", MOST, 1, MOST],
])("the next piece: %s", (_, characters, tookMs, next) => {
  expect(pieceAfter(characters, tookMs)).toBe(next);
});
