/** Keeps what is shown as the server has it: at the end of answers, when another tab tells, when the reader comes back,
 * and now and then. Nothing here draws.
 */

import { noteFailure, reachability } from "../api/server";
import type { Thread } from "../api/types";
import { onAnswerEnd } from "./answers";
import { conversationOf, keepLive, refreshConversation, settleMessage } from "./conversations";
import { saveDrafts } from "./drafts";
import { currentPlace } from "./navigation";
import { onNews, tellTabs } from "./tabs";
import { deleteAllNow, openThreads, refreshThread, refreshThreads, threadList } from "./threads";

/** For answers that other devices asked for; tabs of this browser tell each other. */
const POLL_MS = 15_000;
/** While the server is away: it may be back at any time. */
const AWAY_MS = 3_000;
const KEEP_MS = 5_000;
/** The server names a thread after its first answer, by a model that takes a moment. */
const TITLE_AFTER_MS = [400, 2500, 8000];

const quietly = (work: Promise<unknown>): void => void work.catch(noteFailure);

export function startSync(): () => void {
  quietly(openThreads());
  const stops = [
    onAnswerEnd((id, { thread }) => {
      quietly(settleMessage(thread, id).then(() => tellTabs({ kind: "thread", id: thread })));
      quietly(refreshThread(thread));
      followTitle(thread);
    }),
    onNews((news) => {
      quietly(refreshThreads());
      if (news.kind === "thread" && conversationOf(news.id).origin !== "none") quietly(refreshConversation(news.id));
    }),
    listen(document, "visibilitychange", () => (document.hidden ? leave() : poll())),
    listen(window, "online", poll),
    listen(window, "pagehide", () => {
      leave();
      deleteAllNow();
    }),
    pollNowAndThen(),
  ];
  const timer = setInterval(keepLive, KEEP_MS);
  return () => {
    clearInterval(timer);
    for (const stop of stops) stop();
  };
}

function leave(): void {
  saveDrafts();
  keepLive();
}

function pollNowAndThen(): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = (): void => {
    clearTimeout(timer);
    timer = setTimeout(
      () => {
        if (!document.hidden) poll();
        wait();
      },
      reachability.getState().reachable ? POLL_MS : AWAY_MS,
    );
  };
  wait();
  const stop = reachability.subscribe(wait);
  return () => {
    stop();
    clearTimeout(timer);
  };
}

function listen(target: EventTarget, name: string, heard: () => void): () => void {
  target.addEventListener(name, heard);
  return () => target.removeEventListener(name, heard);
}

function followTitle(thread: string): void {
  for (const after of TITLE_AFTER_MS) {
    setTimeout(() => {
      const known = threadList.getState().threads.find((each) => each.id === thread);
      if (!known?.title || known.title_source === "words") quietly(refreshThread(thread));
    }, after);
  }
}

function poll(): void {
  const before = new Map(threadList.getState().threads.map((thread) => [thread.id, thread]));
  quietly(
    refreshThreads().then((now) => {
      const here = currentPlace().thread;
      const open = now.find((thread) => thread.id === here);
      if (open && (conversationOf(open.id).error || hasChanged(before.get(open.id), open))) {
        return refreshConversation(open.id);
      }
      return undefined;
    }),
  );
}

const hasChanged = (before: Thread | undefined, now: Thread): boolean =>
  before?.updated_at !== now.updated_at || before.leaf_id !== now.leaf_id || before.messages !== now.messages;
