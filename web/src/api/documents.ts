/** Uploads with their progress, and the text around a passage. */

import { WORKSPACE } from "./conversations";
import { askForKey } from "./key";
import { BASE_URL, call, headers } from "./server";
import type { Document, DocumentText, Page } from "./types";

/** `fraction`: of the bytes that were sent. fetch() cannot tell it, so this is an XMLHttpRequest. */
export function uploadDocument(
  file: File,
  thread: string,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<Document> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${BASE_URL}/v1/documents`);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => {
      if (event.lengthComputable && event.total) onProgress(event.loaded / event.total);
    };
    request.onerror = () => reject(new TypeError("network"));
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    request.onload = () => {
      if (request.status === 401) askForKey();
      const answer = request.response as (Page<Document> & { error?: { message?: string } }) | null;
      const document = answer?.data?.[0];
      if (request.status === 202 && document) resolve(document);
      else reject(new Error(answer?.error?.message ?? `${request.status} ${request.statusText}`.trim()));
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    const form = new FormData();
    form.append("file", file, file.name);
    form.append("thread", thread);
    request.send(form);
  });
}

export const getDocument = (id: string): Promise<Document> => call("GET", `/v1/documents/${encodeURIComponent(id)}`);

export const deleteDocument = (id: string): Promise<void> => call("DELETE", `/v1/documents/${encodeURIComponent(id)}`);

export const documentsOfThread = (thread: string): Promise<Page<Document>> =>
  call("GET", `/v1/workspaces/${WORKSPACE}/documents?limit=100&thread=${encodeURIComponent(thread)}`);

export function documentText(id: string, start: number, end: number, version?: number): Promise<DocumentText> {
  const values = new URLSearchParams({ start: String(start), end: String(end) });
  if (version !== undefined) values.set("version", String(version));
  return call("GET", `/v1/documents/${encodeURIComponent(id)}/text?${values}`);
}
