/**
 * The inline syntax: CommonMark and GFM as `@lezer/markdown` parses them, and what answers have besides: math,
 * citations, footnotes. Its block syntax is not used: the parser sees one
 * paragraph's text at a time.
 */

import { Autolink, InlineContext, parser, Strikethrough, type BlockParser, type InlineParser } from "@lezer/markdown";

const BACKSLASH = 92;
const BRACKET_OPEN = 91;
const BRACKET_CLOSE = 93;
const DOLLAR = 36;
const PAREN_OPEN = 40;

/** `[1]`, `[^note]`; before a parenthesis it is the text of a link. */
const CITATION = /^\[(?:\d{1,4}|\^[^\s\]]{1,99})\](?!\()/;

const citation: InlineParser = {
  name: "Citation",
  before: "Link",
  parse(cx, next, at) {
    if (next !== BRACKET_OPEN) return -1;
    const match = CITATION.exec(cx.slice(at, Math.min(cx.end, at + 104)));
    if (!match) return -1;
    const end = at + match[0].length;
    return cx.addElement(cx.elt(match[0][1] === "^" ? "FootnoteReference" : "Citation", at, end));
  },
};

/**
 * `[label]` alone. Whether it is a link is known only when the text is complete, as its definition may follow. The
 * parser would call it a link at once, and then not see a link around it: links hold no links.
 */
const bracket: InlineParser = {
  name: "Bracket",
  before: "LinkEnd",
  parse(cx, next, at) {
    if (next !== BRACKET_CLOSE) return -1;
    const after = at + 1 < cx.end ? cx.char(at + 1) : 0;
    if (after === PAREN_OPEN || after === BRACKET_OPEN) return -1;
    const link = cx.findOpeningDelimiter(InlineContext.linkStart);
    const image = cx.findOpeningDelimiter(InlineContext.imageStart);
    const opener = link !== null && (image === null || image < link) ? cx.getDelimiterAt(link) : null;
    if (link === null || !opener) return -1;
    const content = cx.takeContent(link);
    return cx.addElement(cx.elt("Bracket", opener.from, at + 1, content));
  },
};

/** `\( … \)` and `\[ … \]`, which would be escaped brackets otherwise. */
const texMath: InlineParser = {
  name: "TexMath",
  before: "Escape",
  parse(cx, next, at) {
    const opener = next === BACKSLASH && at + 1 < cx.end ? cx.char(at + 1) : 0;
    if (opener !== PAREN_OPEN && opener !== BRACKET_OPEN) return -1;
    const text = cx.slice(at + 2, cx.end);
    const end = text.indexOf(opener === PAREN_OPEN ? "\\)" : "\\]");
    if (end < 0 || text.slice(0, end).trim() === "") return -1;
    return cx.addElement(cx.elt(opener === PAREN_OPEN ? "InlineMath" : "DisplayMath", at, at + end + 4));
  },
};

const dollarMath: InlineParser = {
  name: "DollarMath",
  before: "Escape",
  parse(cx, next, at) {
    if (next !== DOLLAR) return -1;
    const before = at > cx.offset ? cx.slice(at - 1, at) : "";
    const length = dollarMathLength(cx.slice(at, cx.end), before);
    if (length === 0) return -1;
    return cx.addElement(cx.elt(cx.char(at + 1) === DOLLAR ? "DisplayMath" : "InlineMath", at, at + length));
  },
};

/**
 * Length of the math that begins with the dollar at the start of `text`, or 0. As in Pandoc no space follows the
 * opening dollar or precedes the closing one, and no digit follows it ("$5 and $10"). Besides, no letter or digit
 * stands before the opening one ("US$5, CA$"), the next dollar must be the closing one, and an amount with a word
 * behind it is none ("$5 to 10$").
 */
export function dollarMathLength(text: string, before: string): number {
  const display = /^\$\$(?!\$)((?:[^$\\]|\\[^])+?)\$\$/.exec(text);
  if (display) return (display[1] ?? "").trim() === "" ? 0 : display[0].length;
  if (/[\p{L}\p{N}$]/u.test(before)) return 0;
  const inline = /^\$(?![\s$])((?:[^$\\]|\\[^])*?)(?<!\s)\$(?![\d$])/.exec(text);
  const tex = inline?.[1] ?? "";
  if (tex === "" || /^[\d.,]+\s*(?:[-–—,;:/.]?\s*)(?:\p{L}{2,}|\()/u.test(tex)) return 0;
  return inline?.[0].length ?? 0;
}

/** Takes all lines as one paragraph: where it ends was decided before. */
const wholeText: BlockParser = {
  name: "WholeText",
  before: "LinkReference",
  parse(cx, line) {
    const from = cx.lineStart;
    let text = line.text;
    while (cx.nextLine()) text += `\n${line.text}`;
    cx.addElement(cx.elt("Paragraph", from, from + text.length, cx.parser.parseInline(text, from)));
    return true;
  },
};

export const inlineParser = parser.configure([
  Strikethrough,
  Autolink,
  {
    defineNodes: ["Citation", "FootnoteReference", "Bracket", "InlineMath", "DisplayMath"],
    parseBlock: [wholeText],
    parseInline: [citation, bracket, texMath, dollarMath],
  },
]);
