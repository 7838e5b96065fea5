/** What a browser tells of its network and of who looks at it. Elsewhere nothing is told, and nothing is offline. */

export type Wake = "online" | "offline" | "visible";

/** Some browsers say offline for a machine that still reaches a server on itself: a hint, not a fact. */
export const isOffline = (): boolean => globalThis.navigator?.onLine === false;

export const isHidden = (): boolean => globalThis.document?.visibilityState === "hidden";

/** Returns the way to stop listening. */
export function onWake(listener: (what: Wake) => unknown): () => void {
  const stops: (() => void)[] = [];
  const on = (target: EventTarget | undefined, type: string, what: Wake): void => {
    const heard = (): void => {
      if (what !== "visible" || !isHidden()) listener(what);
    };
    target?.addEventListener?.(type, heard);
    stops.push(() => target?.removeEventListener?.(type, heard));
  };
  const page = globalThis as unknown as EventTarget;
  on(page, "online", "online");
  on(page, "offline", "offline");
  // Out of the back-forward cache, in which connections are cut.
  on(page, "pageshow", "visible");
  on(globalThis.document, "visibilitychange", "visible");
  return () => {
    for (const stop of stops) stop();
  };
}
