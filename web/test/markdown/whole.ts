import { expect, vi } from "vitest";

/** A long text comes by pieces (src/markdown/gradual.ts): waits until all of it is there. */
export async function whole(container: HTMLElement): Promise<HTMLElement> {
  await vi.waitFor(() => expect(container.querySelector(".md-filling")).toBeNull(), { timeout: 20_000 });
  return container;
}
