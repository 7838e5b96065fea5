/** Requests to one server, with its key, every failure as a `HeadwaterError`. */

import { errorFrom, isRecord, lost, unexpected } from "./errors.js";
import type { ClientOptions, RequestOptions } from "./types.js";

const UNCLEAR = "sent what is not understood";

export interface Http {
  /** Tells apart who may not share a connection: the server and the key. */
  identity(): string;
  /** A response with a status of success. Throws `HeadwaterError`, or the signal's reason. */
  send(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<Response>;
}

export function http(options: ClientOptions): Http {
  const base = (options.baseUrl ?? "").replace(/\/+$/, "");
  if (!base && !globalThis.location) throw new TypeError("outside of a page, createClient needs a baseUrl");
  const key = (): string | undefined => (typeof options.apiKey === "function" ? options.apiKey() : options.apiKey);
  return {
    identity: () => `${base} ${key()}`,
    async send(method, path, body, { signal, headers } = {}) {
      const token = key();
      const init: RequestInit = {
        method,
        cache: "no-store",
        headers: {
          ...(token && { authorization: `Bearer ${token}` }),
          ...(isPlain(body) && { "content-type": "application/json" }),
          ...headers,
        },
        body: isPlain(body) ? JSON.stringify(body) : ((body as BodyInit | undefined) ?? null),
        signal: signal ?? null,
      };
      let response: Response;
      try {
        // Found at each call, so that what a page puts in its place is used.
        response = await (options.fetch ?? globalThis.fetch)(base + path, init);
      } catch (error) {
        signal?.throwIfAborted();
        throw lost(error);
      }
      if (!response.ok) throw await errorFrom(response);
      return response;
    },
  };
}

function isPlain(body: unknown): boolean {
  return body !== undefined && !(body instanceof FormData);
}

/** The answer's JSON, the text of another media type, or undefined where there is none. */
export async function bodyOf(response: Response, signal?: AbortSignal): Promise<unknown> {
  let text: string;
  try {
    text = await response.text();
  } catch (error) {
    signal?.throwIfAborted();
    throw lost(error);
  }
  if (!text) return undefined;
  return response.headers.get("content-type")?.includes("json") ? decoded(text) : text;
}

export function decoded(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unexpected(UNCLEAR, cause);
  }
}

export function recordOf(text: string): Record<string, unknown> {
  const found = decoded(text);
  if (isRecord(found)) return found;
  throw unexpected(UNCLEAR);
}
