/** Everything in a text that leads somewhere: links, pictures, citations, footnotes. */

import { useContext, type ReactNode } from "react";
import { useTranslate } from "../i18n";
import { CiteContext, LabelsContext, PrefixContext } from "./context";
import { labelOf } from "./definitions";
import { INCOMPLETE_LINK } from "./incomplete";
import { safeImage, safeLink } from "./links";
import { TEXTS } from "./texts";

interface LinkProps {
  readonly address: string;
  readonly title?: string | undefined;
  readonly children: ReactNode;
}

/** A link to another site. An address that may not be followed leaves the text; an incomplete one is none yet. */
export function Link({ address, title, children }: LinkProps): ReactNode {
  const href = address === INCOMPLETE_LINK ? undefined : safeLink(address);
  if (href === undefined) return children;
  return (
    <a href={href} title={title} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

interface PictureProps {
  readonly address: string;
  readonly alt: string;
  readonly inLink: boolean;
}

export function Picture({ address, alt, inLink }: PictureProps): ReactNode {
  const t = useTranslate(TEXTS);
  const data = safeImage(address);
  if (data !== undefined) return <img src={data} alt={alt} />;
  const text = t("image", { alt: alt === "" ? address : alt });
  return inLink ? text : <Link address={address}>{text}</Link>;
}

interface ReferenceProps {
  readonly label: string;
  /** What stands around the content in the text: it is shown where the label is not defined. */
  readonly before: string;
  readonly after: string;
  /** The description, where it is a picture's. */
  readonly alt: string | undefined;
  readonly inLink: boolean;
  readonly content: (inLink: boolean) => ReactNode;
}

export function Reference({ label, before, after, alt, inLink, content }: ReferenceProps): ReactNode {
  const definition = useContext(LabelsContext).definitions.get(label);
  if (definition && alt !== undefined) return <Picture address={definition.url} alt={alt} inLink={inLink} />;
  if (definition && !inLink) {
    return (
      <Link address={definition.url} title={definition.title}>
        {content(true)}
      </Link>
    );
  }
  return definition ? (
    content(true)
  ) : (
    <>
      {before}
      {content(inLink)}
      {after}
    </>
  );
}

/** `[3]`: the third source, if there are three; or a link, if the text defines what it means. */
export function Citation({ n, text }: { readonly n: number; readonly text: string }): ReactNode {
  const t = useTranslate(TEXTS);
  const { count, onCite } = useContext(CiteContext);
  const definition = useContext(LabelsContext).definitions.get(String(n));
  if (n >= 1 && n <= count) {
    return (
      <button type="button" className="md-cite" aria-label={t("source", { n })} onClick={() => onCite(n)}>
        {n}
      </button>
    );
  }
  return definition ? <Link address={definition.url}>{n}</Link> : text;
}

export const footnoteId = (prefix: string, label: string): string => `${prefix}note-${label}`;

export function FootnoteReference({ label, text }: { readonly label: string; readonly text: string }): ReactNode {
  const t = useTranslate(TEXTS);
  const prefix = useContext(PrefixContext);
  const normalized = labelOf(label);
  if (!useContext(LabelsContext).footnotes.has(normalized)) return text;
  // A link to a fragment would change the page's route.
  const show = (): void => {
    const note = document.getElementById(footnoteId(prefix, normalized));
    note?.focus();
    note?.scrollIntoView({ block: "nearest" });
  };
  return (
    <sup>
      <button type="button" className="md-note-link" aria-label={t("footnote", { label })} onClick={show}>
        {label}
      </button>
    </sup>
  );
}
