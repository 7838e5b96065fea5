/** Which of the two languages: the reader's choice, else the browser's. */

import { readSetting, writeSetting } from "../settings/stored";

export type Language = "en" | "fr";
export type LanguageChoice = Language | "auto";

const listeners = new Set<() => void>();
let choice: LanguageChoice = readChoice();

function readChoice(): LanguageChoice {
  const stored = readSetting("language");
  return stored === "en" || stored === "fr" ? stored : "auto";
}

export function languageOf(chosen: LanguageChoice, preferred: readonly string[]): Language {
  if (chosen !== "auto") return chosen;
  const known = preferred.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "en" || tag === "fr");
  return known === "fr" ? "fr" : "en";
}

export const currentLanguage = (): Language => languageOf(choice, navigator.languages);
export const currentChoice = (): LanguageChoice => choice;

/** Of the document, too. */
export function setLanguage(chosen: LanguageChoice): void {
  choice = chosen;
  writeSetting("language", chosen === "auto" ? undefined : chosen);
  document.documentElement.lang = currentLanguage();
  for (const listener of listeners) listener();
}

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
