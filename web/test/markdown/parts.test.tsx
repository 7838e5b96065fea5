import { fireEvent, render } from "@testing-library/react";
import { describe, expect, it, vi } from "vitest";
import { Markdown } from "../../src/markdown";
import { dollarMathLength } from "../../src/markdown/syntax";
import { whole } from "./whole";

const shown = (text: string, citations = 0, onCite: (n: number) => void = () => undefined): HTMLElement =>
  render(<Markdown text={text} streaming={false} citations={citations} onCite={onCite} />).container;

describe("dollars", () => {
  it.each([
    "$5 and $10",
    "from $5 to $10.",
    "US$5, CA$6",
    "$20 (not $30)",
    "**$5** and **$10**",
    "$1,000/yr, $2,000/yr",
    "5$ and 10$",
    "$5 to 10$",
    "$HOME and $PATH",
    "a $ b $ c",
    "\\$x$",
    "`$x$`",
    "$$",
    "$AAPL rose, $TSLA fell",
  ])("are no math in %s", (text) => expect(shown(text).querySelectorAll(".md-math, .md-math-display")).toHaveLength(0));

  it.each([
    ["$x^2$", 1],
    ["$5x + 3$", 1],
    ["the $n$th and $k$-means", 2],
    ["costs $5, where $p=5$", 1],
    ["$\\text{\\$5}$", 1],
    ["$$x$$ within", 1],
    ["\\(a\\) and \\[b\\] here", 2],
    ["$2$", 1],
  ])("are math in %s", (text, count) => {
    expect(shown(text).querySelectorAll(".md-math, .md-math-display")).toHaveLength(count);
  });

  it("end where the next dollar is", () => {
    expect(dollarMathLength("$a$ and $b$", "")).toBe(3);
    expect(dollarMathLength("$a$b", "c")).toBe(0);
  });

  it("that are never closed stay text", () => {
    expect(shown("$$\nx = 1\n\nafter").textContent).toContain("$$");
    expect(shown("$$\nx = 1\n\nafter").querySelectorAll("p")).toHaveLength(2);
  });
});

describe("citations", () => {
  it("lead to the sources there are", () => {
    const onCite = vi.fn<(n: number) => void>();
    const container = shown("As said [1][3], but not [4] or [0]. `[1]`", 3, onCite);
    const buttons = [...container.querySelectorAll("button.md-cite")];
    expect(buttons.map((button) => button.textContent)).toEqual(["1", "3"]);
    expect(buttons[1]?.getAttribute("aria-label")).toBe("Source 3");
    fireEvent.click(buttons[1]!);
    expect(onCite).toHaveBeenCalledExactlyOnceWith(3);
    expect(container.textContent).toContain("[4] or [0]");
  });

  it("become links when their sources come", () => {
    const { container, rerender } = render(
      <Markdown text="So [1]." streaming citations={0} onCite={() => undefined} />,
    );
    const paragraph = container.querySelector("p");
    expect(container.querySelector(".md-cite")).toBeNull();
    rerender(<Markdown text="So [1]." streaming citations={1} onCite={() => undefined} />);
    expect(container.querySelector(".md-cite")).not.toBeNull();
    expect(container.querySelector("p")).toBe(paragraph);
  });

  it("are no citations as the text of a link", () => {
    const container = shown("[1](https://example.com) [see [1]](https://example.com)", 1);
    expect(container.querySelectorAll("a")).toHaveLength(2);
    expect(container.querySelectorAll(".md-cite")).toHaveLength(0);
  });
});

describe("footnotes", () => {
  it("lead to their notes", () => {
    const container = shown("x[^a] y[^b]\n\n[^a]: Note");
    const buttons = container.querySelectorAll("button.md-note-link");
    expect(buttons).toHaveLength(1);
    expect(container.textContent).toContain("y[^b]");
    const note = container.querySelector<HTMLElement>('[role="note"]');
    expect(note?.textContent).toBe("aNote");
    fireEvent.click(buttons[0]!);
    expect(document.activeElement).toBe(note);
  });

  it("of two texts do not meet", () => {
    const text = "x[^a]\n\n[^a]: Note";
    const { container } = render(
      <>
        <Markdown text={text} streaming={false} citations={0} onCite={() => undefined} />
        <Markdown text={text} streaming={false} citations={0} onCite={() => undefined} />
      </>,
    );
    const notes = container.querySelectorAll('[role="note"]');
    expect(notes[0]?.id).not.toBe(notes[1]?.id);
  });
});

describe("GFM", () => {
  it("has tables that scroll and are named", () => {
    const container = shown("| a | b |\n|:--|--:|\n| 1 | x\\|y |\n| 2 |");
    const region = container.querySelector('[role="region"]');
    expect(region?.getAttribute("tabindex")).toBe("0");
    expect(region?.getAttribute("aria-label")).toBe("Table");
    const rows = [...container.querySelectorAll("tr")].map((row) => [...row.children].map((cell) => cell.textContent));
    expect(rows).toEqual([
      ["a", "b"],
      ["1", "x|y"],
      ["2", ""],
    ]);
    expect(container.querySelectorAll(".md-right")).toHaveLength(3);
    expect(container.querySelector("th")?.getAttribute("scope")).toBe("col");
  });

  it("has tables behind the lines of a paragraph, and ends them at other blocks", () => {
    const container = shown("Text\n| a |\n|---|\n| 1 |\n> quote");
    expect(container.querySelector("p")?.textContent).toBe("Text");
    expect(container.querySelectorAll("tr")).toHaveLength(2);
    expect(container.querySelector("blockquote")?.textContent).toBe("quote");
  });

  it("is no table when the dashes do not fit", () => {
    expect(shown("| a | b |\n|---|\n").querySelector("table")).toBeNull();
  });

  it("lays a long table out by the widths of its first texts", async () => {
    const rows = Array.from({ length: 100 }, (_, at) => `| ${at} | ${"text ".repeat(30)} |`).join("\n");
    const table = (await whole(shown(`| a | b |\n|---|---|\n${rows}`))).querySelector("table");
    expect(table?.className).toBe("md-long");
    expect(table?.style.getPropertyValue("--columns")).toBe("minmax(4em, 6fr) minmax(4em, 48fr)");
    expect(table?.querySelectorAll("tbody > tr")).toHaveLength(100);
  });

  it("has tasks, and boxes that say what they are", () => {
    const boxes = [...shown("- [ ] a\n- [x] b\n- [y] c").querySelectorAll("input")];
    expect(boxes.map((box) => [box.checked, box.disabled, box.getAttribute("aria-label")])).toEqual([
      [false, true, "Not done"],
      [true, true, "Done"],
    ]);
  });

  it("numbers a list of several elements through", async () => {
    const container = await whole(shown(Array.from({ length: 300 }, (_, at) => `${at + 5}. x`).join("\n")));
    const lists = [...container.querySelectorAll("ol")];
    expect(lists.map((list) => [list.start, list.children.length])).toEqual([
      [5, 64],
      [69, 64],
      [133, 64],
      [197, 64],
      [261, 44],
    ]);
  });

  it("links bare addresses without what ends the sentence", () => {
    const links = [
      ...shown(
        "see **https://example.com/a**, (https://b.example/c). Or www.d.example, me@e.example!",
      ).querySelectorAll("a"),
    ];
    expect(links.map((link) => link.getAttribute("href"))).toEqual([
      "https://example.com/a",
      "https://b.example/c",
      "https://www.d.example/",
      "mailto:me@e.example",
    ]);
  });
});

it("puts an answer's headings below the page's own", () => {
  const names = [...shown("# a\n## b\n### c\n#### d\n###### e").querySelectorAll("h1,h2,h3,h4,h5,h6")].map(
    (h) => h.localName,
  );
  expect(names).toEqual(["h3", "h4", "h5", "h6", "h6"]);
});

it("breaks lines within cells, and shows other tags as text", () => {
  const container = shown("| a<br>b |\n|---|\n| <u>c</u> |");
  expect(container.querySelector("th")?.innerHTML).toBe("a<br>b");
  expect(container.querySelector("td")?.textContent).toBe("<u>c</u>");
});

describe("code blocks", () => {
  it("are named by their language and can be reached and scrolled by keyboard", () => {
    const pre = shown("```python title=x\nx = 1\n```").querySelector("pre");
    expect(pre?.getAttribute("aria-label")).toBe("Code, python");
    expect(pre?.tabIndex).toBe(0);
    expect(pre?.textContent).toBe("x = 1");
  });

  it("are copied whole, and say so", async () => {
    const code = Array.from({ length: 150 }, (_, at) => `line ${at}`).join("\n");
    const writeText = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue();
    const container = await whole(shown("```\n" + code + "\n```"));
    fireEvent.click(container.querySelector('[data-testid="copy-button"]')!);
    await vi.waitFor(() => expect(container.querySelector('[role="status"]')?.textContent).toBe("Copied"));
    expect(writeText).toHaveBeenCalledExactlyOnceWith(code);
  });

  it("say when they could not be copied", async () => {
    vi.spyOn(navigator.clipboard, "writeText").mockRejectedValue(new Error("denied"));
    const container = shown("```\nx\n```");
    fireEvent.click(container.querySelector('[data-testid="copy-button"]')!);
    await vi.waitFor(() => expect(container.querySelector('[role="status"]')?.textContent).toBe("Could not copy"));
  });
});
