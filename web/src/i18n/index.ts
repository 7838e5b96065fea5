/** Two languages, typed: a dictionary whose French lacks a key, or has one too many, does not compile. */

import { useCallback, useSyncExternalStore } from "react";
import { currentLanguage, type Language, subscribe } from "./language";

export {
  currentChoice,
  currentLanguage,
  type Language,
  type LanguageChoice,
  languageOf,
  setLanguage,
} from "./language";
export type Values = Readonly<Record<string, string | number>>;
export type Translate<K extends string> = (key: K, values?: Values) => string;

export interface Dictionary<K extends string> {
  readonly en: Readonly<Record<K, string>>;
  readonly fr: Readonly<Record<K, string>>;
}

/** Texts of one part of the page. `{name}` is replaced; `one|other` is chosen by the value `n`. */
export function dictionary<K extends string>(
  en: Readonly<Record<K, string>>,
  fr: Readonly<Record<NoInfer<K>, string>>,
): Dictionary<K> {
  return { en, fr };
}

export function translate<K extends string>(
  texts: Dictionary<K>,
  language: Language,
  key: K,
  values: Values = {},
): string {
  const [one, other] = texts[language][key].split("|") as [string, string?];
  const text = other === undefined || pluralOf(language, values["n"]) === "one" ? one : other;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? value.toLocaleString(language) : value;
  });
}

function pluralOf(language: Language, n: string | number | undefined): Intl.LDMLPluralRule {
  return typeof n === "number" ? new Intl.PluralRules(language).select(n) : "other";
}

export const useLanguage = (): Language => useSyncExternalStore(subscribe, currentLanguage);

/** The texts of one dictionary in the reader's language; the same function until the language changes. */
export function useTranslate<K extends string>(texts: Dictionary<K>): Translate<K> {
  const language = useLanguage();
  return useCallback((key, values) => translate(texts, language, key, values), [texts, language]);
}
