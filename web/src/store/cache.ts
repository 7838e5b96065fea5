/** What was seen last, in IndexedDB: opens at once, and can be read offline. The server's word replaces it always.
 *
 * Where the browser has no IndexedDB (private windows of some), everything works without it.
 */

import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Message, Thread } from "../api/types";

export interface SavedConversation {
  readonly id: string;
  readonly messages: readonly Message[];
  readonly hasMore: boolean;
  readonly savedAt: number;
}

interface Schema extends DBSchema {
  threads: { key: string; value: { readonly id: string; readonly threads: readonly Thread[] } };
  conversations: { key: string; value: SavedConversation; indexes: { savedAt: number } };
}

const NAME = "headwater";
const KEPT = 100;
let opening: Promise<IDBPDatabase<Schema> | undefined> | undefined;

function database(): Promise<IDBPDatabase<Schema> | undefined> {
  opening ??= openDB<Schema>(NAME, 1, {
    upgrade(db) {
      db.createObjectStore("threads", { keyPath: "id" });
      db.createObjectStore("conversations", { keyPath: "id" }).createIndex("savedAt", "savedAt");
    },
    terminated: () => (opening = undefined),
  }).catch(() => undefined);
  return opening;
}

/** A cache that fails is a cache that is empty. */
async function attempt<T>(work: (db: IDBPDatabase<Schema>) => Promise<T>): Promise<T | undefined> {
  try {
    const db = await database();
    return db && (await work(db));
  } catch {
    return undefined;
  }
}

export const readThreads = (): Promise<readonly Thread[] | undefined> =>
  attempt(async (db) => (await db.get("threads", "list"))?.threads);

export const saveThreads = (threads: readonly Thread[]): Promise<unknown> =>
  attempt((db) => db.put("threads", { id: "list", threads }));

export const readConversation = (id: string): Promise<SavedConversation | undefined> =>
  attempt((db) => db.get("conversations", id));

export const forgetConversation = (id: string): Promise<unknown> => attempt((db) => db.delete("conversations", id));

export async function saveConversation(id: string, messages: readonly Message[], hasMore: boolean): Promise<void> {
  await attempt(async (db) => {
    await db.put("conversations", { id, messages, hasMore, savedAt: Date.now() });
    const keys = await db.getAllKeysFromIndex("conversations", "savedAt");
    for (const old of keys.slice(0, Math.max(0, keys.length - KEPT))) await db.delete("conversations", old);
  });
}

/** Another key may be another person: nothing of the one before may be seen. */
export async function clearCache(): Promise<void> {
  await attempt(async (db) => {
    await db.clear("threads");
    await db.clear("conversations");
  });
}
