/** What is open beside the conversation. */

import type { Source } from "headwater";
import { createStore } from "zustand/vanilla";

export type DialogName = "settings" | "help";

interface SourcesShown {
  readonly items: readonly Source[];
  /** From 0; undefined shows all of them. */
  readonly selected: number | undefined;
  /** A document that was opened by itself, and not as the source of an answer. */
  readonly document: boolean;
}

interface Panels {
  readonly dialog: DialogName | undefined;
  /** The drawer of a narrow screen. */
  readonly drawer: boolean;
  readonly sources: SourcesShown | undefined;
}

export const panels = createStore<Panels>(() => ({ dialog: undefined, drawer: false, sources: undefined }));

export const openDialog = (dialog: DialogName): void => panels.setState({ dialog });
export const closeDialog = (): void => panels.setState({ dialog: undefined });
export const setDrawer = (drawer: boolean): void => panels.setState({ drawer });
export const closeSources = (): void => panels.setState({ sources: undefined });

export function openSources(items: readonly Source[], selected?: number): void {
  const known = selected !== undefined && items[selected] ? selected : undefined;
  panels.setState({ sources: { items, selected: known, document: false } });
}

export function openDocument(id: string, name: string): void {
  const whole: Source = { title: name, text: "", metadata: { document: id, start: 0, end: 0 } };
  panels.setState({ sources: { items: [whole], selected: 0, document: true } });
}
