/** Web Locks for an engine without them: exclusive, in the order of asking (https://w3c.github.io/web-locks/). */

type Held = () => Promise<unknown>;

export class Locks {
  readonly #queues = new Map<string, Held[]>();

  readonly request = (name: string, { signal }: { signal: AbortSignal }, held: Held): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      const turn = async (): Promise<void> => {
        signal.removeEventListener("abort", leave);
        await held().then(resolve, reject);
        queue.shift();
        void queue[0]?.();
      };
      const leave = (): void => {
        queue.splice(queue.indexOf(turn), 1);
        reject(signal.reason as Error);
      };
      if (signal.aborted) return reject(signal.reason as Error);
      signal.addEventListener("abort", leave);
      if (queue.push(turn) === 1) queueMicrotask(() => void turn());
    });

  /** How many hold or wait for a lock. */
  get size(): number {
    return [...this.#queues.values()].reduce((sum, { length }) => sum + length, 0);
  }
}
