/** Parts of the program that come when they are first needed. */

import { useSyncExternalStore } from "react";

const values = new Map<string, unknown>();
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** `undefined` until it is there. A part that could not be loaded is asked for again by whoever next needs it. */
export function useLoaded<T>(key: string | undefined, load: () => Promise<T>): T | undefined {
  if (key !== undefined && !values.has(key)) {
    values.set(key, undefined);
    load().then(
      (value) => settle(key, value),
      () => values.delete(key),
    );
  }
  return useSyncExternalStore(subscribe, () => (key === undefined ? undefined : (values.get(key) as T | undefined)));
}

function settle(key: string, value: unknown): void {
  values.set(key, value);
  for (const listener of listeners) listener();
}
