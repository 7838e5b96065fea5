/** Link reference definitions: lines at a paragraph's start that say where `[label]` leads, and are not shown. */

import type { Definition } from "./blocks";

const DEFINITION =
  /^\[((?:[^[\]\\]|\\.){1,999})\]:[ \t]*\n?[ \t]*(<(?:[^<>\\\n]|\\.)*>|[^\s<]\S*)(?:(?:[ \t]+|[ \t]*\n[ \t]*)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\((?:[^()\\]|\\.)*\))(?=[ \t]*(?:\n|$)))?[ \t]*(?:\n|$)/s;

export const labelOf = (text: string): string => text.trim().replace(/\s+/g, " ").toLowerCase().toUpperCase();

export const unescaped = (text: string): string => text.replace(/\\([!-/:-@[-`{-~])/g, "$1");

/** Calls `found` for each definition at the start and returns what is left of the paragraph. */
export function takeDefinitions(paragraph: string, found: (label: string, definition: Definition) => void): string {
  let text = paragraph;
  while (text.startsWith("[")) {
    const match = DEFINITION.exec(text);
    const label = labelOf(match?.[1] ?? "");
    const target = match?.[2];
    if (!match || label === "" || target === undefined) break;
    const url = unescaped(target.startsWith("<") ? target.slice(1, -1) : target);
    found(label, { url, title: match[3] === undefined ? undefined : unescaped(match[3].slice(1, -1)) });
    text = text.slice(match[0].length);
  }
  return text;
}
