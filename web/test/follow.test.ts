import { describe, expect, it } from "vitest";
import { Follow, isAtEnd, type Viewport } from "../src/chat/follow";

/** A view as a browser keeps it: scrolling is bounded by the content. */
class Screen {
  readonly follow = new Follow();
  turnTop: number | undefined;
  #view: Viewport = { top: 0, height: 500, content: 500 };

  get view(): Viewport {
    return this.#view;
  }

  grow(by: number): void {
    this.#set({ ...this.#view, content: this.#view.content + by });
    this.#settle();
  }

  resize(height: number): void {
    this.#set({ ...this.#view, height });
    this.#settle();
  }

  scrollBy(by: number): void {
    this.#set({ ...this.#view, top: this.#view.top + by });
    this.follow.scrolled(this.#view, this.turnTop);
  }

  settle(): void {
    this.#settle();
  }

  #settle(): void {
    const top = this.follow.target(this.#view, this.turnTop);
    if (top === undefined) return;
    this.#set({ ...this.#view, top });
    this.follow.scrolled(this.#view, this.turnTop);
  }

  #set(view: Viewport): void {
    const most = Math.max(0, view.content - view.height);
    this.#view = { ...view, top: Math.min(most, Math.max(0, view.top)) };
  }
}

describe("following an answer", () => {
  it("stays at the end while the content grows", () => {
    const screen = new Screen();
    for (let at = 0; at < 20; at++) screen.grow(37);
    expect(isAtEnd(screen.view)).toBe(true);
  });

  // open-webui #47, LibreChat #983, anything-llm #2253, #6017: cannot scroll up while streaming
  it("lets go when the reader scrolls up, also by a little, and stays let go", () => {
    const screen = new Screen();
    screen.grow(2000);
    screen.scrollBy(-60);
    const { top } = screen.view;
    screen.grow(400);
    screen.grow(400);
    expect(screen.view.top).toBe(top);
  });

  it("lets go at a wheel that has not scrolled yet", () => {
    const screen = new Screen();
    screen.grow(2000);
    screen.follow.letGo();
    screen.grow(400);
    expect(screen.view.top).toBe(2000);
  });

  it("follows again from where the reader comes back to the end", () => {
    const screen = new Screen();
    screen.grow(2000);
    screen.scrollBy(-800);
    screen.scrollBy(800);
    screen.grow(300);
    expect(isAtEnd(screen.view)).toBe(true);
  });

  it("does not take content that shrinks, or a keyboard that opens, for the reader's hand", () => {
    const screen = new Screen();
    screen.grow(2000);
    screen.grow(-300);
    screen.resize(250);
    screen.grow(100);
    expect(isAtEnd(screen.view)).toBe(true);
  });

  it("jumps to the end and follows from there", () => {
    const screen = new Screen();
    screen.grow(2000);
    screen.scrollBy(-1000);
    screen.follow.jump();
    screen.settle();
    expect(isAtEnd(screen.view)).toBe(true);
    screen.grow(500);
    expect(isAtEnd(screen.view)).toBe(true);
  });
});

describe("holding the beginning of an answer", () => {
  const asked = (): Screen => {
    const screen = new Screen();
    screen.grow(1000);
    screen.turnTop = 1500; // the new turn has the height of the view
    screen.follow.hold();
    screen.grow(500);
    return screen;
  };

  // open-webui #10724: keep the start of the answer in view
  it("puts the question at the top and goes no further", () => {
    const screen = asked();
    expect(screen.view.top).toBe(1500);
    for (let at = 0; at < 30; at++) screen.grow(50);
    expect(screen.view.top).toBe(1500);
  });

  it("goes on following where the reader asks for the end", () => {
    const screen = asked();
    screen.grow(900);
    screen.follow.jump();
    screen.settle();
    screen.grow(900);
    expect(isAtEnd(screen.view)).toBe(true);
  });

  it("leaves the reader who reads on below alone, and follows from the end", () => {
    const screen = asked();
    screen.grow(2000);
    screen.scrollBy(400);
    const { top } = screen.view;
    screen.grow(100);
    expect(screen.view.top).toBe(top);
    screen.scrollBy(5000);
    screen.grow(100);
    expect(isAtEnd(screen.view)).toBe(true);
  });

  it("follows where the turn is not in the document", () => {
    const screen = asked();
    screen.turnTop = undefined;
    screen.grow(800);
    expect(isAtEnd(screen.view)).toBe(true);
  });
});
