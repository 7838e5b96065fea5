import { type ComponentType, type ReactNode, Suspense, useState } from "react";
import type { MarkdownProps } from "../markdown";
import { lazily } from "../ui/lazily";

let settled = false;
let loaded: ComponentType<MarkdownProps> | undefined;

/** Markdown is a third of the page's code: it is not loaded before there is something to show or to be asked.
 * Never fails: where it cannot be had, answers are shown as plain text.
 */
export async function loadMarkdown(): Promise<void> {
  try {
    loaded = (await import("../markdown")).Markdown;
  } catch {
    // told by what is shown
  }
  settled = true;
}

export const isMarkdownSettled = (): boolean => settled;

const Plain = ({ text }: MarkdownProps): ReactNode => <div className="plain-text">{text}</div>;
const Markdown = lazily(async () => (await import("../markdown")).Markdown, Plain);

/** An answer's text. */
export function Prose(props: MarkdownProps): ReactNode {
  // What is there already is not waited for, not even the moment that React would hold a boundary back. For each text
  // once and for all: another component in its place would draw it anew.
  const [There] = useState(() => loaded);
  if (There) return <There {...props} />;
  return (
    <Suspense fallback={null}>
      <Markdown {...props} />
    </Suspense>
  );
}
