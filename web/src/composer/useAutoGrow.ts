import { type RefObject, useLayoutEffect } from "react";

/** A field as high as its text, up to what its style allows. Browsers that do it by `field-sizing` do it better. */
export function useAutoGrow(field: RefObject<HTMLTextAreaElement | null>, text: string): void {
  useLayoutEffect(() => {
    const element = field.current;
    if (!element || CSS.supports("field-sizing", "content")) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [field, text]);
}
