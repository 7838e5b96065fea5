/**
 * Blocks as React elements. A block that is finished is the same object for ever, and so are the runs of blocks that
 * are full: what compares equal is not rendered again, and a list of n blocks costs n / 16 comparisons.
 */

import { memo, useContext, type CSSProperties, type ReactNode } from "react";
import { useTranslate } from "../i18n";
import {
  RUN,
  type Align,
  type Block,
  type Footnote,
  type Heading,
  type Item,
  type List,
  type Runs,
  type Table,
} from "./blocks";
import { CodeBlock } from "./code";
import { PrefixContext } from "./context";
import { Inline } from "./inline";
import { MathText } from "./math";
import { footnoteId } from "./references";
import { TEXTS } from "./texts";

/** The document's blocks; full runs are skipped by the browser while they are off the screen. */
export function Blocks({ blocks }: { readonly blocks: Runs<Block> }): ReactNode {
  return blocks.map((run, at) => (
    <div key={at} className={at < blocks.length - 1 ? "md-blocks md-done" : "md-blocks"}>
      <BlockRun run={run} />
    </div>
  ));
}

const Children = ({ runs }: { readonly runs: Runs<Block> }): ReactNode =>
  runs.map((run, at) => <BlockRun key={at} run={run} />);

const BlockRun = memo(function BlockRun({ run }: { readonly run: readonly Block[] }): ReactNode {
  return run.map((block, at) => <BlockView key={at} block={block} />);
});

const BlockView = memo(
  function BlockView({ block }: { readonly block: Block }): ReactNode {
    switch (block.kind) {
      case "paragraph":
        return (
          <p>
            <Inline text={block.text} open={block.open} />
          </p>
        );
      case "heading":
        return <HeadingView heading={block} />;
      case "rule":
        return <hr />;
      case "code":
        return <CodeBlock code={block} />;
      case "math":
        return <MathText tex={block.tex} source={block.tex} display />;
      case "table":
        return <TableView table={block} />;
      case "quote":
        return (
          <blockquote>
            <Children runs={block.children} />
          </blockquote>
        );
      case "list":
        return <ListView list={block} />;
      case "item":
        return <ItemView item={block} />;
      case "footnote":
        return <FootnoteView footnote={block} />;
    }
  },
  (before, after) => same(before.block, after.block),
);

/** Leaves that say the same: a block may be finished for the eye before it is in truth, and then is made twice. */
function same(before: Block, after: Block): boolean {
  if (before === after) return true;
  if (before.kind === "paragraph" && after.kind === "paragraph") {
    return before.text === after.text && before.open === after.open;
  }
  return before.kind === "rule" && after.kind === "rule";
}

/** The page's own headings are above those of an answer. */
const HEADINGS = ["h3", "h4", "h5", "h6", "h6", "h6"] as const;

function HeadingView({ heading }: { readonly heading: Heading }): ReactNode {
  const Tag = HEADINGS[heading.level - 1] ?? "h6";
  return (
    <Tag>
      <Inline text={heading.text} open={heading.open} />
    </Tag>
  );
}

/** Runs of items in one list element. */
const PART_RUNS = 4;

/**
 * A list of more than 64 items becomes several elements, as the browser's work for one grows with its length. Texts of
 * items are paragraphs in tight lists too, so that a list that becomes loose keeps its elements.
 */
function ListView({ list }: { readonly list: List }): ReactNode {
  const { start, loose, children } = list;
  const parts = Array.from({ length: Math.max(1, Math.ceil(children.length / PART_RUNS)) }, (_, at) => {
    const done = at * PART_RUNS + PART_RUNS < children.length ? " md-done" : "";
    const className = `${loose ? "md-loose" : "md-tight"}${at > 0 ? " md-part" : ""}${done}`;
    const items = <Children runs={children.slice(at * PART_RUNS, (at + 1) * PART_RUNS)} />;
    return start === undefined ? (
      <ul key={at} className={className}>
        {items}
      </ul>
    ) : (
      <ol key={at} className={className} start={start + at * PART_RUNS * RUN}>
        {items}
      </ol>
    );
  });
  return parts;
}

function ItemView({ item }: { readonly item: Item }): ReactNode {
  const t = useTranslate(TEXTS);
  if (item.checked === undefined) return <li children={<Children runs={item.children} />} />;
  return (
    <li className="md-task">
      <input
        type="checkbox"
        disabled
        checked={item.checked}
        aria-label={t(item.checked ? "done" : "notDone")}
        readOnly
      />
      <Children runs={item.children} />
    </li>
  );
}

function FootnoteView({ footnote }: { readonly footnote: Footnote }): ReactNode {
  const prefix = useContext(PrefixContext);
  return (
    <div className="md-footnote" role="note" id={footnoteId(prefix, footnote.label)} tabIndex={-1}>
      <sup>{footnote.label.toLowerCase()}</sup>
      <div>
        <Children runs={footnote.children} />
      </div>
    </div>
  );
}

/** Runs of rows from which on a table's columns have fixed widths: see `columnsOf`. */
const LONG_TABLE_RUNS = 6;

function TableView({ table }: { readonly table: Table }): ReactNode {
  const t = useTranslate(TEXTS);
  const { align, head, rows, open } = table;
  const long = rows.length >= LONG_TABLE_RUNS;
  const style = long ? ({ "--columns": columnsOf(head, rows[0] ?? []) } as CSSProperties) : undefined;
  return (
    <div className="md-table" role="region" tabIndex={0} aria-label={t("table")}>
      <table className={long ? "md-long" : undefined} style={style}>
        <thead>
          <Row cells={head} align={align} open={open && rows.length === 0} head />
        </thead>
        {rows.map((run, at) => (
          <tbody key={at} className={at < rows.length - 1 ? "md-done" : undefined}>
            <RowRun run={run} align={align} open={open && at === rows.length - 1} />
          </tbody>
        ))}
      </table>
    </div>
  );
}

/**
 * The browser finds the widths of a table's columns from all of its cells, at every new row. A long table is laid out
 * as a grid instead, with widths by the lengths of its first texts, and rows off the screen are not laid out at all.
 */
function columnsOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, at) => {
    const longest = rows.reduce((most, row) => Math.max(most, row[at]?.length ?? 0), title.length);
    return `minmax(4em, ${Math.min(Math.max(longest, 6), 48)}fr)`;
  });
  return widths.join(" ");
}

interface RowRunProps {
  readonly run: readonly (readonly string[])[];
  readonly align: readonly Align[];
  readonly open: boolean;
}

const RowRun = memo(function RowRun({ run, align, open }: RowRunProps): ReactNode {
  return run.map((cells, at) => (
    <Row key={at} cells={cells} align={align} open={open && at === run.length - 1} head={false} />
  ));
});

interface RowProps {
  readonly cells: readonly string[];
  readonly align: readonly Align[];
  readonly open: boolean;
  readonly head: boolean;
}

const Row = memo(function Row({ cells, align, open, head }: RowProps): ReactNode {
  return (
    <tr>
      {cells.map((text, at) => {
        const className = align[at] && `md-${align[at]}`;
        const content = <Inline text={text} open={open} />;
        return head ? (
          <th key={at} scope="col" className={className} children={content} />
        ) : (
          <td key={at} className={className} children={content} />
        );
      })}
    </tr>
  );
});
