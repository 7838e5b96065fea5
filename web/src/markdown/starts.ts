/** How blocks begin: the rules of CommonMark 0.31 and GFM, in the order in which they are tried. */

import { EMPTY, NO_LINES } from "./blocks";
import type { Line } from "./line";
import { labelOf, takeDefinitions, unescaped } from "./definitions";
import { addCodeLine, begin, define, finishTip, tipOf, type Open, type OpenList, type State } from "./spine";
import { alignmentOf, cellsOf } from "./table";

/** `container`: further blocks may begin on the line; `line`: it is used up. */
export type Started = "container" | "line" | undefined;

/** `finishOthers` finishes what the line did not go on with; a rule calls it once it is sure. */
export type Start = (state: State, line: Line, container: Open, finishOthers: () => void) => Started;

const quote: Start = (state, line, _container, finishOthers) => {
  if (line.indented || line.text[line.nextNonspace] !== ">") return undefined;
  takeQuoteMarker(line);
  finishOthers();
  begin(state, { kind: "quote", children: EMPTY });
  return "container";
};

export function takeQuoteMarker(line: Line): void {
  line.skipSpace();
  line.skip(1);
  if (line.atSpace) line.skipColumns(1);
}

const heading: Start = (state, line, _container, finishOthers) => {
  const match = line.indented ? null : /^#{1,6}(?=[ \t]|$)/.exec(line.content);
  if (!match) return undefined;
  finishOthers();
  const text = line.content.slice(match[0].length).replace(/(?:^|[ \t]+)#+[ \t]*$/, "");
  begin(state, { kind: "heading", level: match[0].length, text: text.trim() });
  return "line";
};

const fence: Start = (state, line, _container, finishOthers) => {
  const match = line.indented ? null : /^(?:`{3,}(?!.*`)|~{3,})/.exec(line.content);
  if (!match) return undefined;
  finishOthers();
  begin(state, {
    kind: "code",
    info: unescaped(line.content.slice(match[0].length).trim()),
    fence: { marker: match[0], indent: line.indent },
    lines: NO_LINES,
    blanks: [],
  });
  return "line";
};

/** `$$` or `\[` at the line's start, unless its end stands within the line with text behind it: that is inline. */
const math: Start = (state, line, _container, finishOthers) => {
  const match = line.indented ? null : /^(?:\$\$(?!\$)|\\\[)(.*)$/.exec(line.content);
  if (!match) return undefined;
  const opener = line.content.startsWith("$$") ? "$$" : "\\[";
  const text = (match[1] ?? "").trimEnd();
  const end = text.indexOf(closerOf(opener));
  if (end >= 0 && end + 2 < text.length) return undefined;
  if (end >= 0 && text.slice(0, end).trim() === "") return undefined;
  finishOthers();
  begin(state, { kind: "math", opener, tex: end < 0 ? text : text.slice(0, end), closed: end >= 0 });
  if (end >= 0) finishTip(state);
  return "line";
};

export const closerOf = (opener: "$$" | "\\["): string => (opener === "$$" ? "$$" : "\\]");

/** A row of dashes below a line with as many cells: the lines of the paragraph before that one stay a paragraph. */
const table: Start = (state, line, container, finishOthers) => {
  if (line.indented || container.kind !== "paragraph") return undefined;
  const cut = container.text.lastIndexOf("\n");
  const head = container.text.slice(cut + 1);
  const align = alignmentOf(line.content.trimEnd(), cellsOf(head).length);
  if (!align) return undefined;
  finishOthers();
  container.text = cut < 0 ? "" : container.text.slice(0, cut);
  begin(state, { kind: "table", align, head: cellsOf(head), rows: EMPTY });
  return "line";
};

const setext: Start = (state, line, container, finishOthers) => {
  const match = line.indented ? null : /^(?:=+|-+)[ \t]*$/.exec(line.content);
  if (!match || container.kind !== "paragraph") return undefined;
  const text = takeDefinitions(container.text, () => undefined).trim();
  if (text === "") return undefined;
  finishOthers();
  takeDefinitions(container.text, define(state));
  container.text = "";
  begin(state, { kind: "heading", level: match[0].startsWith("=") ? 1 : 2, text });
  return "line";
};

const rule: Start = (state, line, _container, finishOthers) => {
  if (line.indented || !/^(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$/.test(line.content)) return undefined;
  finishOthers();
  begin(state, { kind: "rule" });
  return "line";
};

const footnote: Start = (state, line, _container, finishOthers) => {
  const match = line.indented ? null : /^\[\^([^\s\]]{1,99})\]:[ \t]*/.exec(line.content);
  if (!match) return undefined;
  const label = labelOf(match[1] ?? "");
  line.skipSpace();
  line.skip(match[0].length);
  finishOthers();
  begin(state, { kind: "footnote", label, children: EMPTY });
  state.footnotes = new Set(state.footnotes).add(label);
  return "container";
};

interface Marker {
  readonly start: number | undefined;
  readonly delimiter: string;
  readonly length: number;
}

function markerOf(line: Line, container: Open): Marker | undefined {
  const match = /^(?:([-+*])|(\d{1,9})([.)]))(?=[ \t]|$)/.exec(line.content);
  if (!match || line.indent >= 4) return undefined;
  const start = match[2] === undefined ? undefined : Number(match[2]);
  // Within a paragraph only an item with text begins a list, and only a list that counts from 1.
  const interrupts = (start ?? 1) === 1 && line.content.slice(match[0].length).trim() !== "";
  if (container.kind === "paragraph" && !interrupts) return undefined;
  return { start, delimiter: match[1] ?? match[3] ?? "", length: match[0].length };
}

const item: Start = (state, line, container, finishOthers) => {
  const marker = markerOf(line, container);
  if (!marker) return undefined;
  const indent = line.indent + takeMarker(line, marker.length);
  const task = /^\[([ xX])\](?=[ \t])/.exec(line.content);
  if (task && !line.indented) {
    line.skipSpace();
    line.skip(task[0].length);
  }
  finishOthers();
  if (!continuesList(tipOf(state), marker)) {
    const { start, delimiter } = marker;
    begin(state, { kind: "list", start, delimiter, loose: false, blank: false, children: EMPTY });
  }
  const checked = task ? task[1] !== " " : undefined;
  begin(state, { kind: "item", checked, indent, blank: false, children: EMPTY });
  return "container";
};

const continuesList = (tip: Open, marker: Marker): tip is OpenList =>
  tip.kind === "list" &&
  tip.delimiter === marker.delimiter &&
  (tip.start === undefined) === (marker.start === undefined);

/** Goes past the marker and the space behind it; returns their width, which is the indentation of the item. */
function takeMarker(line: Line, length: number): number {
  line.skipSpace();
  line.skip(length);
  if (line.blank) {
    if (line.atSpace) line.skipColumns(1);
    return length + 1;
  }
  // Five columns and more: code that begins one column behind the marker.
  const padding = line.indent >= 5 ? 1 : line.indent;
  line.skipColumns(padding);
  return length + padding;
}

const indentedCode: Start = (state, line, _container, finishOthers) => {
  // Code by indentation cannot interrupt a paragraph, not even one that a lazy line goes on with.
  if (!line.indented || line.blank || tipOf(state).kind === "paragraph") return undefined;
  line.skipColumns(4);
  finishOthers();
  begin(state, { kind: "code", info: "", fence: undefined, lines: NO_LINES, blanks: [] });
  const code = tipOf(state);
  if (code.kind === "code") addCodeLine(code, line.rest);
  return "line";
};

export const STARTS: readonly Start[] = [
  quote,
  heading,
  fence,
  math,
  table,
  setext,
  rule,
  footnote,
  item,
  indentedCode,
];
