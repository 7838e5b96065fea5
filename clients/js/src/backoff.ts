/**
 * When to try again: exponential back-off with full jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), which spreads the viewers that a
 * restarted server gets back all at once. Offline it waits for the network and counts nothing.
 */

import { isOffline, onWake } from "./awareness.js";
import type { HeadwaterError } from "./errors.js";
import type { Backoff } from "./types.js";

/** What a server may ask for at most, so that a wrong number cannot stop a client for ever. */
const MAX_HINT_MS = 300_000;

export interface Attempts {
  /** What `retry:` said last; stays in force. */
  retryMs: number;
  progress(): void;
  /** Until the next attempt. Throws `failure` where none is left, and the signal's reason. */
  wait(failure: HeadwaterError, signal: AbortSignal): Promise<void>;
}

export function attempts(
  policy: Backoff,
  max: number,
  tell: (status: "offline" | "reconnecting", attempt: number) => void,
): Attempts {
  const { baseMs = 500, capMs = 15_000 } = policy;
  let count = 0;
  let asked = false;
  return {
    retryMs: 0,
    progress() {
      count = 0;
      asked = false;
    },
    async wait(failure, signal) {
      if (isOffline()) {
        tell("offline", count);
        // The browser may be wrong, above all for a server on the same machine: it is asked at once, then now and then.
        if (asked) return pause(capMs, signal);
        asked = true;
        return;
      }
      asked = false;
      if (count >= max) throw failure;
      const hintMs = Math.min(Math.max(this.retryMs, (failure.retryAfter ?? 0) * 1000), MAX_HINT_MS);
      const delayMs = hintMs + Math.random() * Math.min(capMs, baseMs * 2 ** count);
      tell("reconnecting", ++count);
      return pause(delayMs, signal);
    },
  };
}

/** Ends early when the network is back or the page is looked at. Throws the signal's reason. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const go = (): void => {
      clearTimeout(timer);
      stop();
      signal.removeEventListener("abort", go);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(go, ms);
    const stop = onWake((what) => {
      if (what !== "offline") go();
    });
    signal.addEventListener("abort", go);
  });
}
