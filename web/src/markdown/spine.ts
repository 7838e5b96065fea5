/**
 * The blocks that are still open, from the document down to the one that takes the next text, and how they become
 * finished blocks. Fields hold immutable values, so a shallow copy of the spine is a copy of the whole state: a line
 * that is not complete yet is tried on such a copy.
 */

import {
  added,
  addedLine,
  EMPTY,
  isEmpty,
  lineRunsOf,
  runsOf,
  type Align,
  type Block,
  type Definition,
  type Growing,
  type GrowingLines,
} from "./blocks";
import { takeDefinitions } from "./definitions";
import { cellsOf, fitted } from "./table";

interface Container {
  children: Growing<Block>;
}

interface OpenDocument extends Container {
  readonly kind: "document";
}

interface OpenQuote extends Container {
  readonly kind: "quote";
}

export interface OpenList extends Container {
  readonly kind: "list";
  readonly start: number | undefined;
  /** The bullet, or what stands behind the number: another one begins another list. */
  readonly delimiter: string;
  loose: boolean;
  /** The last line within was blank. */
  blank: boolean;
}

interface OpenItem extends Container {
  readonly kind: "item";
  readonly checked: boolean | undefined;
  /** Columns that a line must be indented by to go on with the item. */
  readonly indent: number;
  blank: boolean;
}

interface OpenFootnote extends Container {
  readonly kind: "footnote";
  readonly label: string;
}

interface OpenParagraph {
  readonly kind: "paragraph";
  text: string;
}

interface OpenHeading {
  readonly kind: "heading";
  readonly level: number;
  readonly text: string;
}

interface OpenRule {
  readonly kind: "rule";
}

export interface OpenCode {
  readonly kind: "code";
  readonly info: string;
  /** `undefined`: code by its indentation. */
  readonly fence: { readonly marker: string; readonly indent: number } | undefined;
  lines: GrowingLines;
  /** Blank lines of indented code that count only if code follows. */
  blanks: readonly string[];
}

export interface OpenMath {
  readonly kind: "math";
  readonly opener: "$$" | "\\[";
  tex: string;
  closed: boolean;
}

interface OpenTable {
  readonly kind: "table";
  readonly align: readonly Align[];
  readonly head: readonly string[];
  rows: Growing<readonly string[]>;
}

type OpenContainer = OpenDocument | OpenQuote | OpenList | OpenItem | OpenFootnote;
type OpenLeaf = OpenParagraph | OpenHeading | OpenRule | OpenCode | OpenMath | OpenTable;
export type Open = OpenContainer | OpenLeaf;

export interface State {
  spine: Open[];
  definitions: ReadonlyMap<string, Definition>;
  footnotes: ReadonlySet<string>;
}

export const emptyState = (): State => ({
  spine: [{ kind: "document", children: EMPTY }],
  definitions: new Map(),
  footnotes: new Set(),
});

export const copyOf = (state: State): State => ({ ...state, spine: state.spine.map((open) => ({ ...open })) });

const isContainer = (open: Open): open is OpenContainer => "children" in open;

export function tipOf(state: State): Open {
  const tip = state.spine.at(-1);
  if (!tip) throw new Error("a document is never closed");
  return tip;
}

/** Opens `block` in the innermost block that can hold it; the others are finished. */
export function begin(state: State, block: Open): void {
  for (;;) {
    const tip = tipOf(state);
    if (isContainer(tip) && (tip.kind === "list") === (block.kind === "item")) break;
    finishTip(state);
  }
  const parent = tipOf(state);
  // A blank line before an item, or between two blocks of one item, makes the list loose (CommonMark 5.3).
  if (parent.kind === "list" && parent.blank && !isEmpty(parent.children)) parent.loose = true;
  const list = state.spine.at(-2);
  if (parent.kind === "item" && parent.blank && list?.kind === "list") list.loose = true;
  state.spine.push(block);
}

/** Finishes all blocks below the first `depth`. */
export function finishTo(state: State, depth: number): void {
  while (state.spine.length > depth) finishTip(state);
}

export function finishTip(state: State): void {
  const open = state.spine.pop();
  const parent = state.spine.at(-1);
  if (!open || !parent || !isContainer(parent)) throw new Error("only what stands in a container is finished");
  if (open.kind === "item" && parent.kind === "list") parent.blank = open.blank;
  const block = finished(state, open);
  if (block) parent.children = added(parent.children, block);
}

function finished(state: State, open: Open): Block | undefined {
  if (open.kind !== "paragraph") return blockOf(open, false);
  const text = takeDefinitions(open.text, define(state)).trimEnd();
  return text === "" ? undefined : { kind: "paragraph", text, open: false };
}

/** Of several definitions of a label the first counts. */
export const define =
  (state: State) =>
  (label: string, definition: Definition): void => {
    if (!state.definitions.has(label)) state.definitions = new Map(state.definitions).set(label, definition);
  };

/** A block as it stands; `live`: more of it may come. */
function blockOf(open: Open, live: boolean): Block | undefined {
  switch (open.kind) {
    case "document":
      return undefined;
    case "quote":
      return { kind: "quote", children: runsOf(open.children) };
    case "list":
      return { kind: "list", start: open.start, loose: open.loose, children: runsOf(open.children) };
    case "item":
      return { kind: "item", checked: open.checked, children: runsOf(open.children) };
    case "footnote":
      return { kind: "footnote", label: open.label, children: runsOf(open.children) };
    case "paragraph":
      return paragraphOf(open, live);
    case "heading":
      return { kind: "heading", level: open.level, text: open.text, open: live };
    case "rule":
      return { kind: "rule" };
    case "code":
      return { kind: "code", info: open.info, runs: lineRunsOf(open.lines), open: live };
    case "math":
      return mathOf(open, live);
    case "table":
      return { kind: "table", align: open.align, head: open.head, rows: runsOf(open.rows), open: live };
  }
}

function paragraphOf(open: OpenParagraph, live: boolean): Block | undefined {
  const text = takeDefinitions(open.text, () => undefined).trimEnd();
  // What may yet turn out to be a definition is not shown; a line that begins with a bar is a table's head.
  if (text === "" || (live && /^\[[^\]]+\]:\s*\S*$/.test(text))) return undefined;
  if (live && text.startsWith("|") && !text.includes("\n")) {
    const head = cellsOf(text);
    return { kind: "table", align: head.map(() => undefined), head, rows: [], open: true };
  }
  return { kind: "paragraph", text, open: live };
}

/** Math that is never closed was none: its text is shown as it is. */
function mathOf(open: OpenMath, live: boolean): Block {
  if (open.closed || live) return { kind: "math", tex: open.tex.trim(), open: !open.closed };
  return { kind: "paragraph", text: `${open.opener}${open.tex}`.trimEnd(), open: false };
}

/** The children of the document with those that are still open, innermost first made. */
export function childrenOf(state: State, live: boolean): readonly (readonly Block[])[] {
  let child: Block | undefined;
  for (let at = state.spine.length - 1; at >= 0; at -= 1) {
    const open = state.spine[at] as Open;
    if (!isContainer(open)) {
      child = blockOf(open, live);
      continue;
    }
    const children = child ? added(open.children, child) : open.children;
    if (open.kind === "document") return runsOf(children);
    child = blockOf({ ...open, children }, live);
  }
  return [];
}

export function addCodeLine(code: OpenCode, line: string): void {
  if (!code.fence && line.trim() === "") {
    code.blanks = [...code.blanks, line];
    return;
  }
  for (const blank of code.blanks) code.lines = addedLine(code.lines, blank);
  code.blanks = [];
  code.lines = addedLine(code.lines, line);
}

export function addRow(table: OpenTable, line: string): void {
  table.rows = added(table.rows, fitted(cellsOf(line), table.head.length));
}
