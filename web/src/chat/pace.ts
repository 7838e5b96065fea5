/** How fast an answer comes: estimated tokens over the last seconds that were seen. */

/** The server's own estimate where a provider tells none (docs/reference/events.md). */
export const CHARACTERS_PER_TOKEN = 4;
const WINDOW_MS = 4000;
const LEAST_MS = 700;

export const estimateTokens = (characters: number): number => Math.ceil(characters / CHARACTERS_PER_TOKEN);

interface Sample {
  readonly atMs: number;
  readonly characters: number;
}

export class Pace {
  #samples: Sample[] = [];

  /** Tokens a second, undefined while too little was seen to tell. */
  seen(characters: number, atMs: number): number | undefined {
    const last = this.#samples.at(-1);
    if (last && characters < last.characters) this.#samples = []; // it began anew
    this.#samples.push({ atMs, characters });
    while (this.#samples.length > 2 && (this.#samples[1]?.atMs ?? atMs) <= atMs - WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0];
    if (!first || atMs - first.atMs < LEAST_MS) return undefined;
    return ((characters - first.characters) / CHARACTERS_PER_TOKEN / (atMs - first.atMs)) * 1000;
  }
}
