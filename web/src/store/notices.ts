/** Short messages at the edge of the page, and what screen readers are told. */

import { createStore } from "zustand/vanilla";

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly tone: "plain" | "danger";
  readonly action?: { readonly label: string; readonly run: () => void };
}

interface Notices {
  readonly notices: readonly Notice[];
  /** The newest announcement. Only starts and ends of answers, never their fragments. */
  readonly announcement: string;
}

export const notices = createStore<Notices>(() => ({ notices: [], announcement: "" }));

export const NOTICE_MS = 7000;
let last = 0;

export function notify(text: string, options: Partial<Pick<Notice, "tone" | "action">> = {}): number {
  const notice: Notice = { tone: "plain", ...options, id: ++last, text };
  notices.setState(({ notices }) => ({ notices: [...notices.slice(-2), notice] }));
  setTimeout(() => dismiss(notice.id), NOTICE_MS);
  return notice.id;
}

export function dismiss(id: number): void {
  notices.setState(({ notices }) => ({ notices: notices.filter((notice) => notice.id !== id) }));
}

export function announce(text: string): void {
  // The same words twice are no change to a live region: a no-break space makes them one.
  notices.setState(({ announcement }) => ({ announcement: announcement === text ? `${text}\u00a0` : text }));
}
