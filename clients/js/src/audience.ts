/** Who is told of changes: at once, or once an animation frame. */

import { isHidden } from "./awareness.js";

/** How often those who asked for frames are told where there are none: in a page that nobody sees, and in Node. */
const NO_FRAME_MS = 250;

export class Audience {
  readonly #listeners = new Set<{ listener: () => void; frame: boolean }>();
  #isPending = false;

  get size(): number {
    return this.#listeners.size;
  }

  /** Returns the way to be told no more. */
  add(listener: () => void, frame: boolean): () => void {
    const one = { listener, frame };
    this.#listeners.add(one);
    return () => void this.#listeners.delete(one);
  }

  /** `isLast`: who waits for a frame is told at once, too. */
  tell(isLast = false): void {
    let waits = false;
    for (const { listener, frame } of this.#listeners) {
      if (frame && !isLast) waits = true;
      else call(listener);
    }
    if (!waits || this.#isPending) return;
    this.#isPending = true;
    if ("requestAnimationFrame" in globalThis && !isHidden()) requestAnimationFrame(this.#frame);
    else setTimeout(this.#frame, NO_FRAME_MS);
  }

  readonly #frame = (): void => {
    this.#isPending = false;
    for (const { listener, frame } of this.#listeners) if (frame) call(listener);
  };
}

/** A listener's own fault is told as an unhandled rejection. It must not look like a lost connection. */
export function call(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    void Promise.reject(error);
  }
}
