/** Whether an element is on the screen or within a screen of it. */

import { useEffect, useState, type RefObject } from "react";

const listeners = new WeakMap<Element, (near: boolean) => void>();
let observer: IntersectionObserver | undefined;

function sharedObserver(): IntersectionObserver {
  // `scrollMargin` counts where the text scrolls within the page; where it is unknown, the screen itself is meant.
  const options = { rootMargin: "100% 0px", scrollMargin: "100% 0px" };
  observer ??= new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) listeners.get(target)?.(isIntersecting);
  }, options);
  return observer;
}

/** Stays true while the reader's selection is in the element: what is selected must not be replaced. */
export function useNear(place: RefObject<Element | null>): boolean {
  const [near, setNear] = useState(false);
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    listeners.set(element, (isNear) =>
      setNear(isNear || document.getSelection()?.containsNode(element, true) === true),
    );
    sharedObserver().observe(element);
    return () => sharedObserver().unobserve(element);
  }, [place]);
  return near;
}
