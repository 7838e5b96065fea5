/**
 * What an answer shows of syntax that has no end yet. Rules of this module only ever concern the last line of a text
 * that still grows; the text that is complete is parsed as it is.
 */

import remend, { type RemendOptions } from "remend";

/** Longer than any run of markers: such a line is shown. */
const HOLD_LENGTH = 200;

/** Container markers, then nothing but characters that may become a block's marker, a fence with its language, … */
const MARKERS_ONLY =
  /^[\s>]*(?:(?:[-*+]|\d{1,9}[.)])\s+)*(?:[-*+_=~`#|:$\\[\]!<>\s]*|\d{1,9}[.)]?|\[[^\]]{0,40}\]?:?|`{3,}[^`]*|~{3,}.*)$/;

/** Whether the line could still become a thing that looks wholly different: it is then not shown yet. */
export const isHeldBack = (line: string): boolean => line.length < HOLD_LENGTH && MARKERS_ONLY.test(line);

/** Only how emphasis is closed; the rest is done here, where math is known. */
const OPTIONS: RemendOptions = {
  comparisonOperators: false,
  htmlTags: false,
  images: false,
  inlineCode: false,
  inlineKatex: false,
  katex: false,
  links: false,
  setextHeadings: false,
  singleTilde: false,
};

/** Where links lead whose address is not complete. */
export const INCOMPLETE_LINK = "streamdown:incomplete-link";

/** Markers that nothing follows yet, and the starts of citations, footnotes and pictures. */
const LOOSE_END = /(?:!\[[^\]]*(?:\](?:\([^)\s]*)?)?|\[(?:\^[^\s\]]*|\d*)|[*_~`]+|(?<=^|\s)\$+|(?<!\\)(?:\\\\)*\\)$/;
/** A link's address, or a link's text, that has no end yet. */
const OPEN_ADDRESS = /\]\([^()\n]*$/;
const OPEN_TEXT = /(?<!\\)\[(?=[^[\]]*$)/;

/** Code and math, which hold no other syntax. */
const ATOM = /(`+)(?!`)[^]*?[^`]\1(?!`)|\\\([^]*?\\\)|\\\[[^]*?\\\]|\$\$[^$]+\$\$|(?<![\\$\w])\$(?=[^\s$])[^$\n]*\$/g;
const OPEN_ATOM = /(?:(?<!`)(`+)(?!`)[^]*|\\\([^]*|\\\[[^]*|\$\$[^$]*)$/;
/** A lone dollar counts only before text that is plainly TeX. */
const OPEN_DOLLAR = /(?<![\\$\w])\$(?=[^\s$\d])[^$\n]*[\\^_{}=][^$\n]*$/;

const letters = (text: string): string => "x".repeat(text.length);

/** Inline text with what is open at its end closed, and without the markers that nothing follows yet. */
export function closed(text: string): string {
  // Beside the text goes one with letters in the place of code and math, whose signs are no markers.
  let masked = text.replace(ATOM, letters);
  masked = masked.slice(0, LOOSE_END.exec(masked)?.index);
  let bare = text.slice(0, masked.length);
  const atom = OPEN_ATOM.exec(masked) ?? OPEN_DOLLAR.exec(masked);
  if (atom) {
    masked = masked.slice(0, atom.index) + letters(atom[0]);
    bare += closerOf(atom[0], atom[1]);
  } else {
    const address = OPEN_ADDRESS.exec(masked);
    if (address) bare = `${bare.slice(0, address.index)}](${INCOMPLETE_LINK})`;
    const bracket = address ? null : OPEN_TEXT.exec(masked);
    if (bracket) bare = bare.slice(0, bracket.index) + bare.slice(bracket.index + 1);
    if (address) masked = masked.slice(0, address.index) + letters(bare.slice(address.index));
    if (bracket) masked = masked.slice(0, bracket.index) + masked.slice(bracket.index + 1);
  }
  return bare + remend(masked, OPTIONS).slice(masked.length);
}

function closerOf(atom: string, ticks: string | undefined): string {
  if (ticks !== undefined) return ticks;
  if (atom.startsWith("$")) return atom.startsWith("$$") ? "$$" : "$";
  return atom.startsWith("\\(") ? "\\)" : "\\]";
}
