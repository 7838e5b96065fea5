import katex from "katex";
import "katex/dist/katex.min.css";

/** Replaces what is in `element` by the formula; false if it cannot be read, and then changes nothing. */
export type Typeset = (tex: string, element: HTMLElement, display: boolean) => boolean;

export const typeset: Typeset = (tex, element, display) => {
  const formula = document.createElement("span");
  try {
    // As DOM nodes, not as HTML: the page's policy forbids style attributes, and KaTeX sets style properties here.
    // The defaults forbid \href, \includegraphics and \html… (trust), and bound sizes and macros.
    katex.render(tex, formula, {
      displayMode: display,
      throwOnError: true,
      strict: "ignore",
      maxSize: 20,
      maxExpand: 500,
    });
  } catch (error) {
    if (error instanceof katex.ParseError) return false;
    throw error;
  }
  element.replaceChildren(...formula.childNodes);
  element.dataset["typeset"] = "";
  return true;
};
