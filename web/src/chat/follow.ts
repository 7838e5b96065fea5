/** Where to scroll while an answer grows. Pure, so that each rule can be tested.
 *
 * The end is followed until the reader scrolls up, and again from where the reader comes back to the end. With a
 * `hold` (the top of the newest question) following stops there, so that the beginning of a long answer stays in view.
 */

export interface Viewport {
  readonly top: number;
  readonly height: number;
  readonly content: number;
}

/** As near to the end as counts as being there, in px. */
const NEAR_END = 24;

export class Follow {
  following = true;
  #holding = false;
  #seen: Viewport | undefined;

  /** A question was asked: it goes to the top, and its answer below it is followed no further. */
  hold(): void {
    this.#holding = true;
    this.following = true;
  }

  /** The reader wants the end: the beginning is held no longer. */
  jump(): void {
    this.#holding = false;
    this.following = true;
  }

  /** The reader moved up by wheel, finger or key, which may come before the scrolling itself. */
  letGo(): void {
    this.following = false;
  }

  /** The view has scrolled, by whatever hand. `turnTop`: where the newest question stands in the content. */
  scrolled(now: Viewport, turnTop: number | undefined): void {
    const before = this.#seen;
    this.#seen = now;
    if (isAtEnd(now)) {
      // An answer that is held and just fits is at its end as well: that is not the reader's doing.
      if (!this.following) this.jump();
      return;
    }
    const resized = before !== undefined && (now.content < before.content || now.height !== before.height);
    if (before !== undefined && now.top < before.top - 1 && !resized) this.letGo();
    // Beyond the hold: the reader reads on, and is followed again only from the end.
    if (this.#holding && turnTop !== undefined && now.top > turnTop + NEAR_END) this.letGo();
  }

  /** Where to scroll now that the content or the view has changed its size; undefined: leave it. */
  target(now: Viewport, turnTop: number | undefined): number | undefined {
    this.#seen = now;
    if (!this.following) return undefined;
    const end = Math.max(0, now.content - now.height);
    const top = this.#holding && turnTop !== undefined ? Math.min(end, Math.max(0, turnTop)) : end;
    if (Math.abs(top - now.top) < 1) return undefined;
    this.#seen = { ...now, top };
    return top;
  }
}

export const isAtEnd = (view: Viewport): boolean => view.content - view.height - view.top <= NEAR_END;
