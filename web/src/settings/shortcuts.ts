/** Keys of the page. Letters only together with Ctrl or Cmd (WCAG 2.1.4), and none that a browser keeps for itself. */

import { useEffect } from "react";
import type { TextKey } from "../i18n/texts";

export type ShortcutName =
  "newChat" | "search" | "sidebar" | "settings" | "help" | "stop" | "focus" | "next" | "previous" | "jump";

interface Shortcut {
  readonly name: ShortcutName;
  readonly label: TextKey;
  readonly key: string;
  readonly mod?: boolean;
  readonly shift?: boolean;
  readonly alt?: boolean;
}

export const SHORTCUTS: readonly Shortcut[] = [
  { name: "newChat", label: "keyNewChat", key: "o", mod: true, shift: true },
  { name: "search", label: "keySearch", key: "k", mod: true },
  { name: "next", label: "keyNext", key: "ArrowDown", alt: true },
  { name: "previous", label: "keyPrevious", key: "ArrowUp", alt: true },
  { name: "sidebar", label: "keySidebar", key: "b", mod: true },
  { name: "focus", label: "keyFocus", key: "Escape", shift: true },
  { name: "stop", label: "keyStop", key: "Escape" },
  { name: "jump", label: "keyJump", key: "End", mod: true },
  { name: "settings", label: "keySettings", key: ",", mod: true },
  { name: "help", label: "keyHelp", key: "/", mod: true },
];

const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);

/** Some keyboards need Shift for `/`: there it makes no difference. */
export function matches(shortcut: Shortcut, event: KeyboardEvent): boolean {
  const letter = shortcut.key.length === 1;
  return (
    (letter ? event.key.toLowerCase() === shortcut.key : event.key === shortcut.key) &&
    (event.ctrlKey || event.metaKey) === (shortcut.mod ?? false) &&
    event.altKey === (shortcut.alt ?? false) &&
    (shortcut.key === "/" || event.shiftKey === (shortcut.shift ?? false))
  );
}

const NAMES: Readonly<Record<string, string>> = {
  ...{ ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc", End: "End", Enter: "Enter" },
};

export function keysOf({ key, mod, shift, alt }: Omit<Shortcut, "name" | "label">): string[] {
  return [
    ...(mod ? [isMac ? "⌘" : "Ctrl"] : []),
    ...(alt ? [isMac ? "⌥" : "Alt"] : []),
    ...(shift ? ["⇧"] : []),
    NAMES[key] ?? key.toUpperCase(),
  ];
}

export type Actions = Readonly<Record<ShortcutName, () => boolean | void>>;

/** An action that answers false did nothing: the key goes on. */
export function useShortcuts(actions: Actions, active: boolean): void {
  useEffect(() => {
    if (!active) return undefined;
    const pressed = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.isComposing) return;
      const shortcut = SHORTCUTS.find((each) => matches(each, event));
      if (shortcut && actions[shortcut.name]() !== false) event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [actions, active]);
}
