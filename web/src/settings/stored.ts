/** What the browser keeps for the reader: small texts in localStorage, also where the browser forbids it. */

const PREFIX = "headwater.";

export function readSetting(name: string): string | undefined {
  try {
    return localStorage.getItem(PREFIX + name) ?? undefined;
  } catch {
    return undefined; // storage is forbidden: the setting holds for this visit only
  }
}

/** Of all settings that begin so. */
export function settingNames(start: string): string[] {
  try {
    const names = Array.from({ length: localStorage.length }, (_, at) => localStorage.key(at) ?? "");
    return names.filter((name) => name.startsWith(PREFIX + start)).map((name) => name.slice(PREFIX.length));
  } catch {
    return []; // nothing could be kept
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
