/**
 * The figures as they come: one event stream of the server's, kept open while somebody looks at the page.
 *
 * Every event is the whole, so nothing has to be resumed: after a lost connection the newest is there again.
 */

import { createParser, errorFrom, HeadwaterError } from "headwater";
import { useEffect, useState } from "react";
import { askForKey } from "../api/key";
import { BASE_URL, headers } from "../api/server";
import type { LiveFigures } from "./shapes";

/** `refused`: the key may not see figures. `off`: this server does not count. */
export type LiveState = "connecting" | "open" | "reconnecting" | "refused" | "off";

export interface Live {
  readonly state: LiveState;
  readonly figures?: LiveFigures;
}

const BASE_MS = 500;
const CAP_MS = 15_000;

export function useLive(): Live {
  const [live, setLive] = useState<Live>({ state: "connecting" });
  useEffect(() => {
    let stop = new AbortController();
    const tell = (change: Partial<Live>): void => setLive((before) => ({ ...before, ...change }));
    const begin = (): void => {
      stop.abort();
      stop = new AbortController();
      // A page that nobody looks at asks for nothing.
      if (!document.hidden) void watchFigures(tell, stop.signal);
    };
    begin();
    document.addEventListener("visibilitychange", begin);
    addEventListener("online", begin);
    return () => {
      stop.abort();
      document.removeEventListener("visibilitychange", begin);
      removeEventListener("online", begin);
    };
  }, []);
  return live;
}

/** Until `signal`, or until the server says that there is nothing to see. */
export async function watchFigures(tell: (change: Partial<Live>) => void, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      await readFigures((figures) => {
        attempt = 0;
        tell({ state: "open", figures });
      }, signal);
    } catch (error) {
      if (signal.aborted) return;
      const status = error instanceof HeadwaterError ? error.status : 0;
      // The dialog stays until there is a key, and loads the page anew with it.
      if (status === 401) return askForKey();
      if (status === 403) return tell({ state: "refused" });
      if (status === 404) return tell({ state: "off" });
    }
    if (signal.aborted) return;
    tell({ state: "reconnecting" });
    await pause(Math.random() * Math.min(CAP_MS, BASE_MS * 2 ** attempt) + BASE_MS, signal);
  }
}

async function readFigures(onFigures: (figures: LiveFigures) => void, signal: AbortSignal): Promise<void> {
  const response = await fetch(`${BASE_URL}/v1/metrics/live`, { headers: headers(), signal, cache: "no-store" });
  if (!response.ok || !response.body) throw await errorFrom(response);
  const parser = createParser({
    onEvent({ event, data }) {
      if (event === "metadata") onFigures((JSON.parse(data) as { data: LiveFigures }).data);
    },
  });
  const reader = response.body.pipeThrough(new TextDecoderStream("utf-8", { ignoreBOM: true })).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.feed(value);
    }
  } catch (error) {
    // What is not understood would come in for as long as the server sends it.
    reader.cancel().catch(() => {});
    throw error;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
