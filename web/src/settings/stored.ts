/** What the browser keeps for the reader: small texts in localStorage, also where the browser forbids it. */

const PREFIX = "headwater.";

export function readSetting(name: string): string | undefined {
  try {
    return localStorage.getItem(PREFIX + name) ?? undefined;
  } catch {
    return undefined; // storage is forbidden: the setting holds for this visit only
  }
}

export function writeSetting(name: string, value: string | undefined): void {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // the same: it is kept in memory by whoever asked
  }
}
