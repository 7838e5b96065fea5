/** Light, dark, or as the system has it: `data-theme` on <html>, which theme.css reads. */

import { readSetting, writeSetting } from "./stored";

export type Theme = "light" | "dark" | "system";

export function currentTheme(): Theme {
  const stored = readSetting("theme");
  return stored === "light" || stored === "dark" ? stored : "system";
}

export function setTheme(theme: Theme): void {
  writeSetting("theme", theme === "system" ? undefined : theme);
  applyTheme(theme);
}

export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}
