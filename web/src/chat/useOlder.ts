import { useCallback, useLayoutEffect, useRef, useState } from "react";
import type { Turn } from "./turns";

const NEAR_TOP_PX = 400;

export interface Older {
  readonly loading: boolean;
  readonly load: () => void;
  readonly onScroll: (offset: number) => void;
  /** Turns were put before the first: the view stays where it was. */
  readonly shift: boolean;
}

/** Earlier messages are fetched when the reader comes near the top. */
export function useOlder(turns: readonly Turn[], hasMore: boolean, fetch: () => Promise<void>): Older {
  const [loading, setLoading] = useState(false);
  const busy = useRef(false);
  const first = useRef<string>(undefined);
  const scrolled = useRef(false);

  const load = useCallback(() => {
    if (busy.current || !hasMore) return;
    busy.current = true;
    setLoading(true);
    void fetch().finally(() => {
      busy.current = false;
      setLoading(false);
    });
  }, [fetch, hasMore]);

  const firstKey = turns[0]?.key;
  const shift =
    first.current !== undefined && first.current !== firstKey && turns.some((turn) => turn.key === first.current);
  useLayoutEffect(() => {
    first.current = firstKey;
  }, [firstKey]);

  const onScroll = useCallback(
    (offset: number) => {
      // A conversation opens at its end: until it was scrolled away from the top, the top means nothing.
      if (offset > NEAR_TOP_PX) scrolled.current = true;
      else if (scrolled.current) load();
    },
    [load],
  );
  return { loading, load, onScroll, shift };
}
