import { render, type RenderResult } from "@testing-library/react";
import fc from "fast-check";
import type { ReactElement } from "react";
import { expect, it, vi } from "vitest";
import { Markdown } from "../../src/markdown";
import { GrowingText } from "../../src/markdown/parse";
import { SAMPLES } from "./samples";
import { whole } from "./whole";

const shown = (text: string, streaming: boolean): ReactElement => (
  <Markdown text={text} streaming={streaming} citations={3} onCite={() => undefined} />
);

function growing(): { grow(text: string, streaming?: boolean): void; result: RenderResult } {
  const result = render(shown("", true));
  return { grow: (text, streaming = true) => result.rerender(shown(text, streaming)), result };
}

/** The ids of footnotes differ from text to text. */
const htmlOf = ({ container }: RenderResult): string => container.innerHTML.replace(/id="[^"]*note-/g, 'id="note-');

const answers = fc
  .array(
    fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...SAMPLES) }, fc.string({ unit: "grapheme", maxLength: 12 })),
    {
      maxLength: 10,
    },
  )
  .map((parts) => parts.join(""));

it("ends in the same document however the text was cut", () => {
  fc.assert(
    fc.property(answers, fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1, maxLength: 30 }), (text, sizes) => {
      const { grow, result } = growing();
      for (let at = 0, turn = 0; at < text.length; turn += 1) {
        at += sizes[turn % sizes.length] ?? 1;
        grow(text.slice(0, at));
      }
      grow(text, false);
      const atOnce = render(shown(text, false));
      expect(htmlOf(result)).toBe(htmlOf(atOnce));
      result.unmount();
      atOnce.unmount();
    }),
    { numRuns: 60 },
  );
}, 120_000);

it("keeps the elements of finished blocks, and never touches them", () => {
  const { grow, result } = growing();
  const text = Array.from({ length: 120 }, (_, at) => SAMPLES[at % 24]).join("");
  const seen = new Set<Node>();
  const mutated: Node[] = [];
  const observer = new MutationObserver(() => undefined);
  for (let at = 0; at < text.length; at += 37) {
    grow(text.slice(0, at));
    for (const record of observer.takeRecords()) {
      // The group that takes further blocks is a parent, not a block.
      if ([...seen].some((block) => block.contains(record.target))) mutated.push(record.target);
    }
    const blocks = [...result.container.querySelectorAll(".md-blocks > *")];
    // The last block is open, and the one before it may be waiting for the line that finishes it.
    for (const block of blocks.slice(0, -3)) seen.add(block);
    for (const block of seen) expect(result.container.contains(block)).toBe(true);
    observer.observe(result.container, { subtree: true, childList: true, characterData: true });
  }
  expect(seen.size).toBeGreaterThan(100);
  expect(mutated.filter((node) => !isDefinitionOf(node))).toEqual([]);
});

/** A link whose definition came later is the one thing that changes behind the end of a text. */
const isDefinitionOf = (node: Node): boolean => node.textContent?.includes("defined below") ?? false;

it.each([
  ["items of one list", (at: number) => `- item ${at} with **weight**\n`, "li"],
  ["rows of one table", (at: number) => (at === 0 ? "| a | b |\n|---|---|\n" : "") + `| ${at} | x |\n`, "tr"],
  ["lines of one code block", (at: number) => (at === 0 ? "```\n" : "") + `line ${at}\n`, ".md-run"],
])("keeps the elements of %s", (_, part, selector) => {
  const { grow, result } = growing();
  let text = "";
  let before: Element[] = [];
  for (let at = 0; at < 400; at += 1) {
    text += part(at);
    if (at % 20 !== 0) continue;
    grow(text);
    const now = [...result.container.querySelectorAll(selector)];
    expect(now.length).toBeGreaterThanOrEqual(before.length);
    before.forEach((element, place) => expect(now[place]).toBe(element));
    before = now;
  }
});

it("parses only what is new", () => {
  const growingText = new GrowingText();
  let text = "";
  for (let at = 0; at < 200; at += 1) text += `- item ${at}\n`;
  const before = growingText.parsed(text, true).blocks[0]?.[0];
  const after = growingText.parsed(`${text}- one more\n- and`, true).blocks[0]?.[0];
  if (before?.kind !== "list" || after?.kind !== "list") throw new Error("it is one list");
  expect(after.children).toHaveLength(13);
  for (let at = 0; at < 12; at += 1) expect(after.children[at]).toBe(before.children[at]);
});

it("starts again with a text that does not go on with the last one", () => {
  const { grow, result } = growing();
  grow("# One\n\ntext");
  grow("# Two\n\n- list", false);
  expect(result.container.querySelector("h3")?.textContent).toBe("Two");
  expect(result.container.querySelectorAll("li")).toHaveLength(1);
  expect(result.container.textContent).not.toContain("One");
});

it("goes on with an answer that was thought to be finished", () => {
  const { grow, result } = growing();
  grow("- a\n- b", false);
  grow("- a\n- bc\n- d", true);
  expect([...result.container.querySelectorAll("li")].map((item) => item.textContent)).toEqual(["a", "bc", "d"]);
});

it.each([
  ["**bold", "<strong>bold</strong>"],
  ["**bold*", "<strong>bold</strong>"],
  ["an *idea and `code", "an <em>idea and <code>code</code></em>"],
  ["~~gone", "<del>gone</del>"],
  ["[a link](https://exam", "a link"],
  ["with [a li", "with a li"],
  ["![pic](https://exam", ""],
  ["see [1", "see"],
  ["a [^n", "a"],
  ["an ![image with", "an"],
  ["**a [li", "<strong>a li</strong>"],
  ["**a `c", "<strong>a <code>c</code></strong>"],
  ["`a*` and `*b", "<code>a*</code> and <code>*b</code>"],
  ["*a* 2*3", "<em>a</em> 2*3"],
  ["text **", "text"],
  ["text \\", "text"],
  ["a_b and c_d", "a_b and c_d"],
])("shows no marker of what is unfinished: %s", (text, html) => {
  const { grow, result } = growing();
  grow(`x\n\n${text}`);
  expect(result.container.querySelectorAll("p")[1]?.innerHTML.trim() ?? "").toBe(html);
});

it.each(["-", "1", "1.", "#", "##", "```py", "``", "| ", "|--", "$$", "---", "> ", "- [", "- [x", "[^1]", "=", "**"])(
  "waits for what a line will be: %s",
  (line) => {
    const { grow, result } = growing();
    grow("text\n");
    const before = result.container.innerHTML;
    grow(`text\n${line}`);
    expect(result.container.innerHTML).toBe(before);
  },
);

it("shows a table from its first bar on", () => {
  const { grow, result } = growing();
  const text = "| a | b |\n|---|---|\n| 1 | **2** |\n";
  for (let at = 4; at <= text.length; at += 1) {
    grow(text.slice(0, at));
    expect(result.container.querySelectorAll("table")).toHaveLength(1);
    expect(result.container.querySelectorAll("p")).toHaveLength(0);
  }
});

it("lets nesting without an end be text", async () => {
  const { container } = render(
    shown(`${">".repeat(5000)}x\n\n${"[".repeat(3000)}\n\n${"*a ".repeat(2000)}${"a* ".repeat(2000)}`, false),
  );
  expect((await whole(container)).querySelectorAll("blockquote").length).toBeLessThan(70);
  expect(container.textContent).toContain("x");
});

it("shows a paragraph without an end in pieces", async () => {
  const { grow, result } = growing();
  const text = "A sentence with **weight** in it. ".repeat(2000);
  grow(text);
  await vi.waitFor(() => expect(result.container.querySelectorAll("strong")).toHaveLength(2000), { timeout: 20_000 });
  const pieces = [...result.container.querySelectorAll(".md-piece")];
  expect(pieces.length).toBeGreaterThan(10);
  grow(`${text}More.`);
  pieces.forEach((piece, at) => expect(result.container.querySelectorAll(".md-piece")[at]).toBe(piece));
  expect(result.container.querySelectorAll("strong")).toHaveLength(2000);
});
