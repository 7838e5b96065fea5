/** The reader's key: for this visit, or remembered where the reader says so. Never in an address, never in a cookie. */

import { createStore } from "zustand/vanilla";

const NAME = "headwater.key";

interface KeyState {
  /** The server asked for a key: the dialog is shown. */
  readonly asked: boolean;
  /** It asked although there is one: that one does not hold. */
  readonly refused: boolean;
}

export const keyStore = createStore<KeyState>(() => ({ asked: false, refused: false }));

let inMemory: string | undefined;

export function currentKey(): string | undefined {
  try {
    return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME) ?? inMemory;
  } catch {
    return inMemory;
  }
}

export function saveKey(key: string, remember: boolean): void {
  forgetKey();
  inMemory = key;
  try {
    (remember ? localStorage : sessionStorage).setItem(NAME, key);
  } catch {
    // storage is forbidden: it holds until the page is left
  }
  keyStore.setState({ asked: false, refused: false });
}

export function forgetKey(): void {
  inMemory = undefined;
  try {
    sessionStorage.removeItem(NAME);
    localStorage.removeItem(NAME);
  } catch {
    // there is nothing then
  }
}

export function askForKey(): void {
  keyStore.setState({ asked: true, refused: currentKey() !== undefined });
}
