/** What was typed and not sent, for each thread; "" is the new conversation. Survives reloads and other tabs. */

import { readSetting, settingNames, writeSetting } from "../settings/stored";

const SAVE_AFTER_MS = 250;
const unsaved = new Map<string, string>();
let timer: ReturnType<typeof setTimeout> | undefined;

const START = "draft.";
const nameOf = (thread: string | undefined): string => START + (thread ?? "");

export function readDraft(thread: string | undefined): string {
  return unsaved.get(nameOf(thread)) ?? readSetting(nameOf(thread)) ?? "";
}

export function writeDraft(thread: string | undefined, text: string): void {
  unsaved.set(nameOf(thread), text);
  timer ??= setTimeout(saveDrafts, SAVE_AFTER_MS);
}

/** Now: when the page is left, too. */
export function saveDrafts(): void {
  clearTimeout(timer);
  timer = undefined;
  for (const [name, text] of unsaved) writeSetting(name, text || undefined);
  unsaved.clear();
}

/** The conversation has got its thread: what was typed goes along. */
export function moveDraft(from: string | undefined, to: string): void {
  writeDraft(to, readDraft(from));
  dropDraft(from);
}

export function dropDraft(thread: string | undefined): void {
  writeDraft(thread, "");
  saveDrafts();
}

/** Of all threads. */
export function forgetDrafts(): void {
  unsaved.clear();
  for (const name of settingNames(START)) writeSetting(name, undefined);
}
