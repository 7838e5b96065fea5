/** Rows of GFM tables. */

import type { Align } from "./blocks";

const DELIMITERS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** The cells of a row: bars split it, also within code, unless a backslash stands before them. */
export function cellsOf(row: string): string[] {
  const inner = row.trim().replace(/^\|/, "");
  const cells: string[] = [];
  let cell = "";
  for (let at = 0; at < inner.length; at += 1) {
    const character = inner.charAt(at);
    if (character === "\\" && at + 1 < inner.length) {
      const next = inner.charAt((at += 1));
      cell += next === "|" ? next : character + next;
    } else if (character === "|") {
      cells.push(cell.trim());
      cell = "";
    } else cell += character;
  }
  if (cell.trim() !== "" || cells.length === 0) cells.push(cell.trim());
  return cells;
}

/** As many cells as the head has. */
export function fitted(cells: readonly string[], columns: number): string[] {
  return Array.from({ length: columns }, (_, at) => cells[at] ?? "");
}

/** The columns' alignment if `line` is the row of dashes below a head of `columns` cells. */
export function alignmentOf(line: string, columns: number): Align[] | undefined {
  if (!line.includes("|") || !DELIMITERS.test(line)) return undefined;
  const cells = cellsOf(line);
  if (cells.length !== columns) return undefined;
  return cells.map((cell) => {
    const left = cell.startsWith(":");
    if (cell.endsWith(":")) return left ? "center" : "right";
    return left ? "left" : undefined;
  });
}
