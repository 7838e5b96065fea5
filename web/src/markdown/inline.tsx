/** The text of one block as React elements. No HTML of the text is ever HTML of the page: tags are shown as text. */

import type { SyntaxNode } from "@lezer/common";
import { createElement, Fragment, memo, type ReactNode } from "react";
import { labelOf, unescaped } from "./definitions";
import { closed } from "./incomplete";
import { decodedEntity } from "./entities";
import { Citation, FootnoteReference, Link, Picture, Reference } from "./references";
import { MathText } from "./math";
import { inlineParser } from "./syntax";

/** Above this a text is parsed in pieces, so that no update takes longer for a paragraph without an end. */
const LONG = 8192;
const PIECE = 4096;

interface InlineProps {
  readonly text: string;
  readonly open: boolean;
}

export const Inline = memo(function Inline({ text, open }: InlineProps): ReactNode {
  const pieces = piecesOf(text);
  if (pieces.length === 1) return <Piece text={text} open={open} />;
  return pieces.map((piece, at) => (
    <span key={at} className={at < pieces.length - 1 ? "md-piece md-done" : "md-piece"}>
      <Piece text={piece} open={open && at === pieces.length - 1} />
    </span>
  ));
});

const Piece = memo(function Piece({ text, open }: InlineProps): ReactNode {
  return elementsOf(open ? closed(text) : text);
});

/** Cut where a sentence ends, or at a space: places that do not move while the text grows. */
function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  let from = 0;
  while (text.length - from > LONG) {
    const range = text.slice(from + PIECE, from + LONG);
    const sentence = range.search(/(?<=[.!?])\s/);
    const space = sentence >= 0 ? sentence : range.search(/\s/);
    const end = space >= 0 ? from + PIECE + space + 1 : from + LONG;
    pieces.push(text.slice(from, end));
    from = end;
  }
  pieces.push(text.slice(from));
  return pieces;
}

function elementsOf(text: string): ReactNode[] {
  const top = inlineParser.parse(text).topNode.firstChild;
  return top ? contentOf({ text, inLink: false, depth: 0 }, top, top.from, top.to) : [text];
}

interface Source {
  readonly text: string;
  /** Links hold no links. */
  readonly inLink: boolean;
  /** How many elements are around. */
  readonly depth: number;
}

/** Deeper nesting is no one's meaning, and costs the browser its stack. */
const MAX_DEPTH = 32;

const deeper = (source: Source): Source => ({ ...source, depth: source.depth + 1 });

/** What stands in `node` between two places, neighbouring texts joined. */
function contentOf(source: Source, node: SyntaxNode, from: number, to: number): ReactNode[] {
  if (source.depth > MAX_DEPTH) return [source.text.slice(from, to)];
  const content: ReactNode[] = [];
  let text = "";
  let at = from;
  for (let child = node.firstChild; child; child = child.nextSibling) {
    if (child.from < from || child.to > to) continue;
    text += source.text.slice(at, child.from);
    at = child.to;
    const element = elementOf(source, child);
    if (typeof element === "string") text += element;
    else {
      if (text !== "") content.push(text);
      text = "";
      content.push(createElement(Fragment, { key: content.length }, element));
    }
  }
  text += source.text.slice(at, to);
  if (text !== "") content.push(text);
  return content;
}

function elementOf(source: Source, node: SyntaxNode): ReactNode {
  const text = source.text.slice(node.from, node.to);
  const content = (): ReactNode[] => contentOf(deeper(source), node, node.from, node.to);
  switch (node.name) {
    case "EmphasisMark":
    case "StrikethroughMark":
      return "";
    case "Emphasis":
      return <em>{content()}</em>;
    case "StrongEmphasis":
      return <strong>{content()}</strong>;
    case "Strikethrough":
      return <del>{content()}</del>;
    case "InlineCode":
      return <code>{codeOf(text)}</code>;
    case "Escape":
      return text.slice(1);
    case "Entity":
      return decodedEntity(text);
    case "HardBreak":
      return <br />;
    case "HTMLTag":
      return /^<br\s*\/?>$/i.test(text) ? <br /> : text;
    case "InlineMath":
      return <MathText tex={texOf(text)} source={text} display={false} />;
    case "DisplayMath":
      return <MathText tex={texOf(text)} source={text} display />;
    default:
      return linkOf(source, node, text);
  }
}

function linkOf(source: Source, node: SyntaxNode, text: string): ReactNode {
  switch (node.name) {
    case "Link":
    case "Image":
      return explicitLink(source, node, text);
    case "Bracket":
      return reference(source, node, node.from + 1, node.to - 1, text.slice(1, -1));
    case "Autolink":
    case "URL": {
      const address = text.replace(/^<|>$/g, "");
      return source.inLink ? address : <Link address={withScheme(address)}>{address}</Link>;
    }
    case "Citation":
      return source.inLink ? text : <Citation n={Number(text.slice(1, -1))} text={text} />;
    case "FootnoteReference":
      return source.inLink ? text : <FootnoteReference label={text.slice(2, -1)} text={text} />;
    default:
      return text;
  }
}

/** `[text](address "title")`, `[text][label]`, and the same with `!` before it. */
function explicitLink(source: Source, node: SyntaxNode, text: string): ReactNode {
  const marks = node.getChildren("LinkMark");
  const from = marks[0]?.to ?? node.from;
  const to = marks[1]?.from ?? node.to;
  const url = node.getChild("URL");
  const label = node.getChild("LinkLabel");
  const sliced = (part: SyntaxNode | null): string => (part ? source.text.slice(part.from, part.to) : "");
  if (label) {
    const inner = sliced(label).slice(1, -1);
    return reference(source, node, from, to, inner === "" ? source.text.slice(from, to) : inner);
  }
  const address = literal(sliced(url).replace(/^<|>$/g, ""));
  if (!url && !text.endsWith(")")) return reference(source, node, from, to, source.text.slice(from, to));
  if (node.name === "Image")
    return <Picture address={address} alt={plain(source.text.slice(from, to))} inLink={source.inLink} />;
  const content = contentOf({ ...deeper(source), inLink: true }, node, from, to);
  if (source.inLink) return content;
  const title = node.getChild("LinkTitle");
  return (
    <Link address={address} title={title ? literal(sliced(title).slice(1, -1)) : undefined}>
      {content}
    </Link>
  );
}

/** Text in brackets that is a link if its label is defined anywhere in the text; otherwise it is itself. */
function reference(source: Source, node: SyntaxNode, from: number, to: number, label: string): ReactNode {
  return (
    <Reference
      label={labelOf(label)}
      before={source.text.slice(node.from, from)}
      after={source.text.slice(to, node.to)}
      alt={node.name === "Image" ? plain(source.text.slice(from, to)) : undefined}
      inLink={source.inLink}
      content={(inLink) => contentOf({ ...deeper(source), inLink }, node, from, to)}
    />
  );
}

function codeOf(text: string): string {
  const ticks = /^`+/.exec(text)?.[0].length ?? 0;
  const code = text.slice(ticks, -ticks).replace(/\n/g, " ");
  return /^ .*[^ ].* $|^ [^ ] $/.test(code) ? code.slice(1, -1) : code;
}

/** Without the delimiters, which are one character for `$` and two for the others. */
function texOf(text: string): string {
  const length = /^\$(?!\$)/.test(text) ? 1 : 2;
  return text.slice(length, -length).trim();
}

const literal = (text: string): string => unescaped(text).replace(/&(?:#\w+|\w+);/g, decodedEntity);

/** The text of an image's description, for which no elements are made. */
const plain = (text: string): string => literal(text.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[*_~`]+/g, ""));

function withScheme(address: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(address)) return address;
  return address.includes("@") && !/^www\./i.test(address) ? `mailto:${address}` : `https://${address}`;
}
