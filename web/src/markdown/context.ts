/** What the parts of one text share. Only the parts that read it render again when it changes. */

import { createContext } from "react";
import type { Labels } from "./blocks";

export const LabelsContext = createContext<Labels>({ definitions: new Map(), footnotes: new Set() });

export interface Cite {
  /** How many sources there are: `[1]` to `[count]` lead to them. */
  readonly count: number;
  readonly onCite: (n: number) => void;
}

export const CiteContext = createContext<Cite>({ count: 0, onCite: () => undefined });

/** Makes the ids of footnotes unique among the texts of a page. */
export const PrefixContext = createContext("");
