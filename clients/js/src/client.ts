/** `createClient`: the HTTP API as functions, and streams that mend themselves. */

import { attempts } from "./backoff.js";
import { isRetryable, unexpected } from "./errors.js";
import { type Sink, follow, streamPath } from "./follow.js";
import { type Http, bodyOf, http } from "./http.js";
import { followShared, sharedName } from "./share.js";
import { type Source, Stream } from "./stream.js";
import type { Asked, Backoff, Client, ClientOptions, FollowOptions, RequestOptions, StartOptions } from "./types.js";

const DEFAULT_SILENCE_MS = 45_000;
const DEFAULT_START_ATTEMPTS = 8;
/** A server that restarts, or a proxy in front of one. That there is too much to do (429) is for the caller to see. */
const START_AGAIN = new Set([0, 502, 503, 504]);

type Answered = Omit<Asked, "stream"> & { stream_id: string };

/** Throws `TypeError` where it cannot know the server. */
export function createClient(options: ClientOptions = {}): Client {
  const server = http(options);
  const { backoff = {} } = options;
  const source = (begin: Source["begin"], fresh: boolean): Source => ({
    begin,
    read: (id, sink, signal) => readStream(server, options, { id, fresh }, sink, signal),
    cancel: (id) => server.send("POST", streamPath(id, "/cancel")),
  });
  const request = async <T>(method: string, path: string, body?: unknown, given: RequestOptions = {}): Promise<T> =>
    (await bodyOf(await server.send(method, path, body, given), given.signal)) as T;

  return {
    request,
    follow: (id, given: FollowOptions = {}) =>
      new Stream(
        source(async () => id, false),
        { ...given, id },
      ),

    start(body, { path = "/v1/streams", ...given }: StartOptions = {}) {
      const begin: Source["begin"] = (signal, tell) =>
        insist(backoff, { ...given, signal }, tell, async (headers) => {
          const response = await server.send("POST", path, body, { headers, signal });
          const id = response.headers.get("x-stream-id");
          response.body?.cancel().catch(() => {}); // the events are read where they can be resumed
          if (id) return id;
          throw unexpected("did not name the stream");
        });
      return new Stream(source(begin, true), given);
    },

    async ask(thread, body, given: StartOptions = {}): Promise<Asked> {
      const path = `/v1/threads/${encodeURIComponent(thread)}/messages`;
      const answered = await insist(
        backoff,
        given,
        () => {},
        (headers) => request<Answered>("POST", path, { ...body, stream: false }, { ...given, headers }),
      );
      const { stream_id: id, question, answer } = answered;
      return {
        question,
        answer,
        stream: new Stream(
          source(async () => id, true),
          { ...given, id },
        ),
      };
    },
  };
}

async function readStream(
  server: Http,
  { backoff = {}, silenceMs = DEFAULT_SILENCE_MS, share }: ClientOptions,
  stream: { id: string; fresh: boolean },
  sink: Sink,
  signal: AbortSignal,
): Promise<void> {
  const read = (to: Sink, until: AbortSignal): Promise<void> =>
    follow({ ...stream, http: server, backoff, silenceMs }, to, until);
  const name = share ? await sharedName(server.identity(), stream.id) : undefined;
  return name ? followShared(name, read, sink, signal, silenceMs) : read(sink, signal);
}

/** Repeats what has an `Idempotency-Key` until it is answered. */
async function insist<T>(
  backoff: Backoff,
  { idempotencyKey, signal = new AbortController().signal }: StartOptions,
  tell: Sink["tell"],
  run: (headers: Record<string, string>) => Promise<T>,
): Promise<T> {
  const tries = attempts(backoff, backoff.maxStartAttempts ?? DEFAULT_START_ATTEMPTS, tell);
  const headers = { "idempotency-key": idempotencyKey ?? randomKey() };
  for (;;) {
    try {
      signal.throwIfAborted();
      return await run(headers);
    } catch (error) {
      signal.throwIfAborted();
      if (!isRetryable(error) || !START_AGAIN.has(error.status)) throw error;
      await tries.wait(error, signal);
    }
  }
}

/** Not `randomUUID`, which only secure contexts have. */
function randomKey(): string {
  return crypto.getRandomValues(new Uint8Array(16)).join("-");
}
