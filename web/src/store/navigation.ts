/** Where the reader is: `#/` a new conversation, `#/t/<thread>` one that is there, `…/m/<message>` a place in it. */

import { useSyncExternalStore } from "react";

export interface Place {
  readonly thread: string | undefined;
  readonly message: string | undefined;
}

export function parsePlace(hash: string): Place {
  const found = /^#\/t\/([\w-]{1,64})(?:\/m\/([\w-]{1,64}))?$/.exec(hash);
  return { thread: found?.[1], message: found?.[2] };
}

const subscribe = (listener: () => void): (() => void) => {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
};

let cached: { hash: string; place: Place } | undefined;

export function currentPlace(): Place {
  if (cached?.hash !== location.hash) cached = { hash: location.hash, place: parsePlace(location.hash) };
  return cached.place;
}

export const usePlace = (): Place => useSyncExternalStore(subscribe, currentPlace);

export function goTo(thread: string | undefined, options: { message?: string; replace?: boolean } = {}): void {
  const hash = thread === undefined ? "#/" : `#/t/${thread}${options.message ? `/m/${options.message}` : ""}`;
  if (location.hash === hash) return;
  if (options.replace) {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = hash;
  }
}
