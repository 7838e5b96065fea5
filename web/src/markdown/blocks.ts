/** What a text is made of. Every value here is immutable: a block that is finished is the same object for ever. */

/** Lists of any length in runs of `RUN`: whoever compares two of them looks at n / RUN runs, not at n members. */
export type Runs<T> = readonly (readonly T[])[];

export const RUN = 16;

export type Align = "left" | "center" | "right" | undefined;

export interface Paragraph {
  readonly kind: "paragraph";
  readonly text: string;
  /** More of its text may come: what is unfinished at its end is closed for the eye. */
  readonly open: boolean;
}

export interface Heading {
  readonly kind: "heading";
  readonly level: number;
  readonly text: string;
  readonly open: boolean;
}

export interface Rule {
  readonly kind: "rule";
}

export interface Code {
  readonly kind: "code";
  readonly info: string;
  /** The lines in runs of `CODE_RUN`, each joined by line feeds. */
  readonly runs: readonly string[];
  readonly open: boolean;
}

export interface MathBlock {
  readonly kind: "math";
  readonly tex: string;
  readonly open: boolean;
}

export interface Table {
  readonly kind: "table";
  readonly align: readonly Align[];
  readonly head: readonly string[];
  readonly rows: Runs<readonly string[]>;
  readonly open: boolean;
}

export interface Quote {
  readonly kind: "quote";
  readonly children: Runs<Block>;
}

export interface List {
  readonly kind: "list";
  /** The first number, or `undefined` for bullets. */
  readonly start: number | undefined;
  /** Some blank line stands between its parts: CommonMark then gives its texts the margins of paragraphs. */
  readonly loose: boolean;
  readonly children: Runs<Block>;
}

export interface Item {
  readonly kind: "item";
  /** `undefined` where the item is no task. */
  readonly checked: boolean | undefined;
  readonly children: Runs<Block>;
}

export interface Footnote {
  readonly kind: "footnote";
  readonly label: string;
  readonly children: Runs<Block>;
}

export type Block = Paragraph | Heading | Rule | Code | MathBlock | Table | Quote | List | Item | Footnote;

export interface Definition {
  readonly url: string;
  readonly title: string | undefined;
}

/** What the text has said so far for its other parts: definitions may stand after the links that use them. */
export interface Labels {
  readonly definitions: ReadonlyMap<string, Definition>;
  readonly footnotes: ReadonlySet<string>;
}

/** A list that grows at its end without touching the runs that are full. */
export interface Growing<T> {
  readonly full: Runs<T>;
  readonly rest: readonly T[];
}

export const EMPTY: Growing<never> = { full: [], rest: [] };

export function added<T>(list: Growing<T>, member: T): Growing<T> {
  const rest = [...list.rest, member];
  return rest.length < RUN ? { full: list.full, rest } : { full: [...list.full, rest], rest: [] };
}

export function runsOf<T>(list: Growing<T>): Runs<T> {
  return list.rest.length > 0 ? [...list.full, list.rest] : list.full;
}

export const isEmpty = (list: Growing<unknown>): boolean => list.full.length === 0 && list.rest.length === 0;

export const CODE_RUN = 64;

/** The same for lines of code, where a run is one string. */
export interface GrowingLines {
  readonly full: readonly string[];
  readonly rest: string;
  /** Lines in `rest`. */
  readonly count: number;
}

export const NO_LINES: GrowingLines = { full: [], rest: "", count: 0 };

export function addedLine(lines: GrowingLines, line: string): GrowingLines {
  const rest = lines.count === 0 ? line : `${lines.rest}\n${line}`;
  if (lines.count + 1 < CODE_RUN) return { full: lines.full, rest, count: lines.count + 1 };
  return { full: [...lines.full, rest], rest: "", count: 0 };
}

export const lineRunsOf = (lines: GrowingLines): readonly string[] =>
  lines.count > 0 ? [...lines.full, lines.rest] : lines.full;
