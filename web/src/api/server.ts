/** The one client of this page. All requests go through `call`, which notices a missing key and a missing server. */

import { createClient, HeadwaterError } from "headwater";
import { createStore } from "zustand/vanilla";
import { askForKey, currentKey } from "./key";

/** Where the API is: beside the page, wherever the server is mounted. */
export const BASE_URL = new URL(".", document.baseURI).href.replace(/\/$/, "");

// `share`: tabs of this browser watch one stream through one connection, because HTTP/1.1 has six for all of them.
export const client = createClient({ baseUrl: BASE_URL, apiKey: currentKey, share: true });

/** Whether the last request came through. A refusal did; a cut connection did not. */
export const reachability = createStore<{ readonly reachable: boolean }>(() => ({ reachable: true }));

/** A number of that meaning in `HeadwaterError.status`: the request got no answer at all. */
export const isUnreachable = (error: unknown): boolean =>
  error instanceof TypeError || (error instanceof HeadwaterError && !(error.status > 0));

export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  try {
    const answer = await client.request<T>(method, path, body, signal ? { signal } : {});
    noteReachable(true);
    return answer;
  } catch (error) {
    noteFailure(error);
    throw error;
  }
}

export function noteFailure(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (isUnreachable(error)) noteReachable(false);
  else noteReachable(true);
  if (error instanceof HeadwaterError && error.status === 401) askForKey();
}

function noteReachable(reachable: boolean): void {
  if (reachability.getState().reachable !== reachable) reachability.setState({ reachable });
}

export function headers(): Record<string, string> {
  const key = currentKey();
  return key === undefined ? {} : { Authorization: `Bearer ${key}` };
}

/** A plain fetch with the key, for files. */
export async function fetchFile(path: string): Promise<Response> {
  const response = await fetch(BASE_URL + path, { headers: headers() });
  if (response.status === 401) askForKey();
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`.trim());
  return response;
}
