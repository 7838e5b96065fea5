/** The reader's choices, kept in localStorage and the same in all tabs. */

import { createStore } from "zustand/vanilla";
import { readSetting, writeSetting } from "./stored";

export interface Preferences {
  /** Show the answer while it is made; off: when it is whole. */
  readonly streaming: boolean;
  /** "": the server's default. */
  readonly model: string;
  readonly temperature: number | undefined;
  readonly maxTokens: number | undefined;
  /** Follow an answer that is longer than the screen; off: its beginning stays in view. */
  readonly follow: boolean;
  readonly sidebar: boolean;
}

const number = (text: string | undefined, least: number, most: number): number | undefined => {
  const value = text === undefined || text === "" ? Number.NaN : Number(text);
  return value >= least && value <= most ? value : undefined;
};

export const TEMPERATURE = { least: 0, most: 2 } as const;
export const MAX_TOKENS = { least: 1, most: 1_000_000 } as const;

function read(): Preferences {
  return {
    streaming: readSetting("streaming") !== "off",
    model: readSetting("model") ?? "",
    temperature: number(readSetting("temperature"), TEMPERATURE.least, TEMPERATURE.most),
    maxTokens: number(readSetting("max-tokens"), MAX_TOKENS.least, MAX_TOKENS.most),
    follow: readSetting("follow") === "on",
    sidebar: readSetting("sidebar") !== "off",
  };
}

export const preferences = createStore<Preferences>(read);

export function setPreferences(changes: Partial<Preferences>): void {
  preferences.setState(changes);
  const now = preferences.getState();
  writeSetting("streaming", now.streaming ? "on" : "off");
  writeSetting("model", now.model || undefined);
  writeSetting("temperature", now.temperature?.toString());
  writeSetting("max-tokens", now.maxTokens?.toString());
  writeSetting("follow", now.follow ? "on" : undefined);
  writeSetting("sidebar", now.sidebar ? undefined : "off");
}

/** Another tab wrote: take it over. Returns the way to stop. */
export function watchOtherTabs(): () => void {
  const wrote = (event: StorageEvent): void => {
    if (event.key === null || event.key.startsWith("headwater.")) preferences.setState(read());
  };
  addEventListener("storage", wrote);
  return () => removeEventListener("storage", wrote);
}
