/**
 * Markdown text that grows becomes blocks, line by line, by the block algorithm of CommonMark (appendix "A parsing
 * strategy"): a line either goes on with open blocks or finishes them, and finished blocks are never looked at again.
 * So the work for new text does not depend on what came before it, in one list or code block of any length either.
 */

import type { Block, Labels, Runs } from "./blocks";
import { isHeldBack } from "./incomplete";
import { Line } from "./line";
import { closerOf, STARTS, takeQuoteMarker, type Started } from "./starts";
import {
  addCodeLine,
  addRow,
  begin,
  childrenOf,
  copyOf,
  emptyState,
  finishTip,
  finishTo,
  tipOf,
  type Open,
  type OpenCode,
  type OpenMath,
  type State,
} from "./spine";

export interface Parsed extends Labels {
  readonly blocks: Runs<Block>;
}

/** Feeds on text that grows. `view` may be called at any time, and changes nothing. */
export class MarkdownParser {
  readonly #state: State = emptyState();
  /** The line that no line feed has ended yet. */
  #line = "";

  append(text: string): void {
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) incorporate(this.#state, line);
  }

  /** The blocks so far; `live` says that more text may come. */
  view(live: boolean): Parsed {
    const state = copyOf(this.#state);
    if (this.#line !== "" && !(live && isHeldBack(this.#line))) incorporate(state, this.#line);
    if (!live) finishTo(state, 1);
    const { definitions, footnotes } = state;
    return { blocks: childrenOf(state, live), definitions, footnotes };
  }
}

/** The blocks of a text of which each version mostly begins with the one before. */
export class GrowingText {
  #parser = new MarkdownParser();
  #text = "";
  #last: { readonly live: boolean; readonly parsed: Parsed } | undefined;

  /** Work for what is new; a text that does not go on with the last one is parsed from its start. */
  parsed(text: string, live: boolean): Parsed {
    if (this.#last?.live === live && text === this.#text) return this.#last.parsed;
    if (!text.startsWith(this.#text)) {
      this.#parser = new MarkdownParser();
      this.#text = "";
    }
    this.#parser.append(text.slice(this.#text.length));
    this.#text = text;
    const parsed = this.#parser.view(live);
    this.#last = { live, parsed };
    return parsed;
  }
}

/** Deeper nesting is no one's meaning, and costs the browser its stack: its markers are text. */
const MAX_DEPTH = 64;

function incorporate(state: State, text: string): void {
  const line = new Line(text.endsWith("\r") ? text.slice(0, -1) : text);
  const depth = continued(state, line);
  if (depth === undefined) return;
  const began = beginBlocks(state, line, depth);
  if (began !== "line") addText(state, line, began ?? depth);
  noteBlank(state, line.blank && began === undefined);
}

/** How many blocks of the spine go on with the line; `undefined`: it was a closing fence, and is used up. */
function continued(state: State, line: Line): number | undefined {
  for (let at = 1; at < state.spine.length; at += 1) {
    const open = state.spine[at] as Open;
    const goesOn = goesOnWith(open, line, at === state.spine.length - 1);
    if (goesOn === "closed") {
      finishTip(state);
      return undefined;
    }
    if (!goesOn) return at;
  }
  return state.spine.length;
}

function goesOnWith(open: Open, line: Line, isTip: boolean): boolean | "closed" {
  switch (open.kind) {
    case "document":
    case "list":
      return true;
    case "quote":
      if (line.indented || line.text[line.nextNonspace] !== ">") return false;
      takeQuoteMarker(line);
      return true;
    case "item":
    case "footnote": {
      // An item that begins with a blank line ends at the next one.
      if (line.blank) return !isTip || open.children.full.length + open.children.rest.length > 0;
      const indent = open.kind === "item" ? open.indent : 4;
      if (line.indent < indent) return false;
      line.skipColumns(indent);
      return true;
    }
    case "code":
      return open.fence ? goesOnInFence(open.fence, line) : goesOnIndented(line);
    case "math":
      return goesOnInMath(open, line);
    case "paragraph":
    case "table":
      return !line.blank;
    case "heading":
    case "rule":
      return false;
  }
}

function goesOnInFence(fence: NonNullable<OpenCode["fence"]>, line: Line): boolean | "closed" {
  const closing = line.indented ? null : /^(?:`{3,}|~{3,})(?=[ \t]*$)/.exec(line.content);
  if (closing && closing[0][0] === fence.marker[0] && closing[0].length >= fence.marker.length) return "closed";
  line.skipColumns(Math.min(line.indent, fence.indent));
  return true;
}

function goesOnIndented(line: Line): boolean {
  if (!line.indented && !line.blank) return false;
  line.skipColumns(4);
  return true;
}

function goesOnInMath(math: OpenMath, line: Line): boolean | "closed" {
  if (line.blank) return false;
  const text = line.content.trimEnd();
  if (!text.endsWith(closerOf(math.opener))) return true;
  math.tex += `\n${text.slice(0, -2)}`;
  math.closed = true;
  return "closed";
}

/** How many blocks the line is in once it began new ones; `undefined`: it began none; `line`: it is used up. */
function beginBlocks(state: State, line: Line, depth: number): number | "line" | undefined {
  let inside = depth;
  for (;;) {
    const container = state.spine[inside - 1] as Open;
    if (container.kind === "code" || container.kind === "math" || inside > MAX_DEPTH) break;
    const started = begun(state, line, container, () => finishTo(state, inside));
    if (started === "line") return "line";
    if (started === undefined) break;
    inside = state.spine.length;
  }
  return inside === depth ? undefined : inside;
}

function begun(state: State, line: Line, container: Open, finishOthers: () => void): Started {
  for (const start of STARTS) {
    const started = start(state, line, container, finishOthers);
    if (started) return started;
  }
  return undefined;
}

function addText(state: State, line: Line, depth: number): void {
  const tip = tipOf(state);
  // A lazy line goes on with the paragraph though it lacks the markers of the containers around it.
  if (state.spine.length > depth && !line.blank && tip.kind === "paragraph") {
    tip.text += `\n${line.content}`;
    return;
  }
  finishTo(state, depth);
  const open = tipOf(state);
  if (open.kind === "code") addCodeLine(open, line.rest);
  else if (open.kind === "math") open.tex += `\n${line.content}`;
  else if (open.kind === "table") addRow(open, line.content);
  else if (open.kind === "paragraph") open.text += `\n${line.content}`;
  else if (!line.blank) begin(state, { kind: "paragraph", text: line.content });
}

/** Remembers for the items and lists that are open whether this line was blank for them: see `begin`. */
function noteBlank(state: State, blank: boolean): void {
  const tip = tipOf(state);
  const isBlank = blank && !(tip.kind === "code" && tip.fence);
  const quote = state.spine.findLastIndex((open) => open.kind === "quote");
  state.spine.forEach((open, at) => {
    if (open.kind === "item" || (open.kind === "list" && open === tip)) open.blank = isBlank && at > quote;
  });
}
