import { type RefObject, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Follow, isAtEnd, type Viewport } from "./follow";

const viewOf = (element: HTMLElement): Viewport => ({
  top: element.scrollTop,
  height: element.clientHeight,
  content: element.scrollHeight,
});

/** Where the newest turn begins, in px of the content; undefined while it is not in the document. */
function turnTopOf(element: HTMLElement): number | undefined {
  const turn = element.querySelector("[data-last]");
  if (!turn) return undefined;
  return Math.round(element.scrollTop + turn.getBoundingClientRect().top - element.getBoundingClientRect().top);
}

const UP_KEYS = new Set(["ArrowUp", "PageUp", "Home"]);

export interface FollowScroll {
  /** The newest is out of view. */
  readonly behind: boolean;
  readonly jump: () => void;
  /** Put the newest question at the top, and keep it in view while what is below it grows. */
  readonly hold: () => void;
  readonly letGo: () => void;
}

/** `content`: what grows inside of the `scroller`. */
export function useFollow(
  scroller: RefObject<HTMLElement | null>,
  content: RefObject<HTMLElement | null>,
): FollowScroll {
  const follow = useRef(new Follow());
  const [behind, setBehind] = useState(false);

  const settle = useCallback(() => {
    const element = scroller.current;
    if (!element) return;
    const top = follow.current.target(viewOf(element), turnTopOf(element));
    if (top !== undefined) element.scrollTop = top;
    setBehind(!isAtEnd(viewOf(element)));
  }, [scroller]);

  useEffect(() => {
    const element = scroller.current;
    const inside = content.current;
    if (!element || !inside) return undefined;
    const onScroll = (): void => {
      follow.current.scrolled(viewOf(element), turnTopOf(element));
      setBehind(!isAtEnd(viewOf(element)));
    };
    const canScroll = (): boolean => element.scrollHeight > element.clientHeight;
    const onWheel = (event: WheelEvent): void => {
      if (event.deltaY < 0 && canScroll()) follow.current.letGo();
    };
    const onKey = (event: KeyboardEvent): void => {
      if (UP_KEYS.has(event.key) && event.target === element && canScroll()) follow.current.letGo();
    };
    const observer = new ResizeObserver(settle);
    observer.observe(element);
    observer.observe(inside);
    element.addEventListener("scroll", onScroll, { passive: true });
    element.addEventListener("wheel", onWheel, { passive: true });
    element.addEventListener("keydown", onKey);
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
      element.removeEventListener("wheel", onWheel);
      element.removeEventListener("keydown", onKey);
    };
  }, [scroller, content, settle]);

  const actions = useMemo(
    () => ({
      jump: () => {
        follow.current.jump();
        settle();
      },
      hold: () => {
        follow.current.hold();
        settle();
      },
      letGo: () => follow.current.letGo(),
    }),
    [settle],
  );
  return { behind, ...actions };
}
