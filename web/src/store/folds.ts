/** What the reader has folded out: a turn's elements come and go (as it scrolls by, or when the next question is asked),
 * and what was opened stays open.
 */

import { useStore } from "zustand";
import { createStore } from "zustand/vanilla";

const folds = createStore<{ readonly open: ReadonlySet<string> }>(() => ({ open: new Set() }));

/** `name`: of a message and a part of it. */
export function useFold(name: string): readonly [boolean, (open: boolean) => void] {
  const isOpen = useStore(folds, ({ open }) => open.has(name));
  return [isOpen, (open) => setFold(name, open)];
}

function setFold(name: string, isOpen: boolean): void {
  const before = folds.getState().open;
  if (before.has(name) === isOpen) return; // a browser tells of what it was told, too
  const open = new Set(before);
  if (isOpen) open.add(name);
  else open.delete(name);
  folds.setState({ open });
}
