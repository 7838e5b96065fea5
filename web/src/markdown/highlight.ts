/**
 * Colours of code that grows. A mode's state at a line's end is all it needs for the next line, so lines that are
 * coloured stay so, and the work for new lines does not depend on how many there are.
 */

import { StringStream } from "@codemirror/streamparser";
import type { Mode } from "./languages";

export interface Token {
  readonly text: string;
  /** The class of its colour; `undefined` for plain text. */
  readonly color: string | undefined;
}

export type ColoredLine = readonly Token[];

/** The first lines of a run, coloured: they are the text `prefix`. */
export interface Colored {
  readonly prefix: string;
  readonly lines: readonly ColoredLine[];
}

const TAB = 4;
const INDENT = 2;
/** A line that is longer is data; colouring it would hold up the page. */
const MAX_LINE = 2000;

/** Names of tokens, by which part of them says the colour. */
const COLORS: Readonly<Record<string, string>> = {
  keyword: "keyword",
  operatorKeyword: "keyword",
  controlKeyword: "keyword",
  modifier: "keyword",
  qualifier: "keyword",
  self: "keyword",
  atom: "number",
  bool: "number",
  null: "number",
  number: "number",
  string: "string",
  "string-2": "string",
  character: "string",
  regexp: "string",
  attributeValue: "string",
  inserted: "string",
  link: "string",
  url: "string",
  comment: "comment",
  quote: "comment",
  def: "name",
  definition: "name",
  heading: "name",
  header: "name",
  tag: "name",
  tagName: "name",
  typeName: "type",
  type: "type",
  builtin: "type",
  standard: "type",
  className: "type",
  namespace: "type",
  property: "property",
  propertyName: "property",
  attribute: "property",
  attributeName: "property",
  labelName: "property",
  meta: "meta",
  processingInstruction: "meta",
  documentMeta: "meta",
  error: "deleted",
  invalid: "deleted",
  deleted: "deleted",
};

/** The most special part that has a colour: `variableName.definition` is a definition. */
function colorOf(style: string | null): string | undefined {
  const parts = style === null ? [] : style.split(/[ .]/).reverse();
  const part = parts.find((name) => Object.hasOwn(COLORS, name));
  return part === undefined ? undefined : `md-${COLORS[part]}`;
}

interface Run {
  text: string;
  complete: boolean;
}

interface Progress extends Colored {
  readonly index: number;
  readonly state: unknown;
}

/** Colours one block of code, whose runs of lines it is told as they grow. */
export class Highlighter {
  readonly #mode: Mode;
  readonly #runs: Run[] = [];
  /** The mode's state at the end of each run, as far as it was read. */
  readonly #ends: unknown[] = [];
  #growing: Progress | undefined;

  constructor(mode: Mode) {
    this.#mode = mode;
  }

  /** `complete`: the last line of the run has ended. */
  set(index: number, text: string, complete: boolean): void {
    const before = this.#runs[index];
    if (before && !text.startsWith(before.text)) {
      this.#ends.length = Math.min(this.#ends.length, index);
      this.#growing = undefined;
    }
    this.#runs[index] = { text, complete };
  }

  /** One step, of at most one run, towards the colours of a run; `undefined`: another one is needed. */
  step(index: number): Colored | undefined {
    const next = this.#ends.length;
    if (next < index) {
      const run = this.#runs[next];
      if (!run) return { prefix: "", lines: [] };
      this.#ends.push(this.#read(run.text, this.#stateBefore(next)).state);
      return undefined;
    }
    return this.#colors(index);
  }

  #colors(index: number): Colored {
    const { text, complete } = this.#runs[index] ?? { text: "", complete: false };
    const known = this.#growing?.index === index && text.startsWith(this.#growing.prefix) ? this.#growing : undefined;
    const end = complete ? text.length : text.lastIndexOf("\n");
    const from = known && known.lines.length > 0 ? known.prefix.length + 1 : 0;
    let progress = known ?? { index, prefix: "", lines: [], state: this.#stateBefore(index) };
    if (end >= from) {
      const read = this.#read(text.slice(from, end), this.#copy(progress.state));
      progress = { index, prefix: text.slice(0, end), lines: [...progress.lines, ...read.lines], state: read.state };
    }
    this.#growing = complete ? undefined : progress;
    if (complete && this.#ends.length === index) this.#ends.push(progress.state);
    return progress;
  }

  #stateBefore(index: number): unknown {
    return index === 0 ? (this.#mode.startState?.(INDENT) ?? {}) : this.#copy(this.#ends[index - 1]);
  }

  #copy(state: unknown): unknown {
    if (this.#mode.copyState) return this.#mode.copyState(state);
    const copy = Object.entries(state as object).map(([key, value]) => [
      key,
      Array.isArray(value) ? [...value] : value,
    ]);
    return Object.fromEntries(copy) as unknown;
  }

  #read(text: string, state: unknown): { readonly lines: ColoredLine[]; readonly state: unknown } {
    return { lines: text.split("\n").map((line) => tokensOf(this.#mode, line, state)), state };
  }
}

/** Reads one line; the mode changes `state`. */
function tokensOf(mode: Mode, line: string, state: unknown): ColoredLine {
  if (line === "") {
    mode.blankLine?.(state, INDENT);
    return [];
  }
  if (line.length > MAX_LINE) return [{ text: line, color: undefined }];
  const tokens: { text: string; color: string | undefined }[] = [];
  const stream = new StringStream(line, TAB, INDENT);
  while (!stream.eol()) {
    stream.start = stream.pos;
    const color = colorOf(nextToken(mode, stream, state));
    const last = tokens.at(-1);
    if (last && last.color === color) last.text += stream.current();
    else tokens.push({ text: stream.current(), color });
  }
  return tokens;
}

/** A mode may return empty tokens while it changes its state; one that does not go on at all gets past a character. */
function nextToken(mode: Mode, stream: StringStream, state: unknown): string | null {
  for (let tries = 0; tries < 10; tries += 1) {
    const style = mode.token(stream, state);
    if (stream.pos > stream.start) return style;
  }
  stream.next();
  return null;
}
