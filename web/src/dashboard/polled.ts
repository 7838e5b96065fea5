import { useEffect, useState } from "react";
import { call } from "../api/server";

export interface Polled<T> {
  readonly value?: T;
  readonly failed: boolean;
}

/** `path` again and again while the page is looked at; what it answered last stays until there is something newer. */
export function usePolled<T>(path: string | undefined, everyMs: number): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>({ failed: false });
  useEffect(() => {
    setPolled({ failed: false });
    if (path === undefined) return undefined;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      clearTimeout(timer);
      if (document.hidden) return;
      try {
        const value = await call<T>("GET", path, undefined, stop.signal);
        if (!stop.signal.aborted) setPolled({ value, failed: false });
      } catch {
        if (!stop.signal.aborted) setPolled((before) => ({ ...before, failed: true }));
      }
      if (!stop.signal.aborted) timer = setTimeout(() => void ask(), everyMs);
    };
    void ask();
    const seen = (): void => void ask();
    document.addEventListener("visibilitychange", seen);
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [path, everyMs]);
  return polled;
}
