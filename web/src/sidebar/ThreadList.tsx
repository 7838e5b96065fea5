import { type ReactNode, useMemo } from "react";
import { useStore } from "zustand";
import { noteFailure } from "../api/server";
import type { Thread } from "../api/types";
import { useTranslate } from "../i18n";
import { type Day, dayOf } from "../i18n/format";
import { texts } from "../i18n/texts";
import { usePlace } from "../store/navigation";
import { loadOlderThreads, threadList } from "../store/threads";
import { ThreadItem } from "./ThreadItem";

const DAYS: readonly Day[] = ["today", "yesterday", "lastWeek", "older"];

/** A thread that nobody has written in is not listed, but for the one that is open. */
export function shown(threads: readonly Thread[], leaving: ReadonlySet<string>, open: string | undefined): Thread[] {
  return threads.filter(
    (thread) => !leaving.has(thread.id) && (thread.messages > 0 || thread.title !== "" || thread.id === open),
  );
}

export function ThreadList(): ReactNode {
  const t = useTranslate(texts);
  const { threads, leaving, hasMore, loaded } = useStore(threadList);
  const { thread: open } = usePlace();
  const listed = useMemo(() => shown(threads, leaving, open), [threads, leaving, open]);
  const now = new Date();
  return (
    <div className="threads" data-testid="thread-list">
      {loaded && !listed.length ? <p className="threads-empty">{t("noChats")}</p> : null}
      {DAYS.map((day) => {
        const ofDay = listed.filter((thread) => dayOf(thread.updated_at, now) === day);
        if (!ofDay.length) return null;
        return (
          <section key={day}>
            <h2 className="threads-day">{t(day)}</h2>
            <ul>
              {ofDay.map((thread) => (
                <ThreadItem key={thread.id} thread={thread} open={thread.id === open} />
              ))}
            </ul>
          </section>
        );
      })}
      {hasMore ? (
        <button type="button" className="more" onClick={() => void loadOlderThreads().catch(noteFailure)}>
          {t("showMore")}
        </button>
      ) : null}
    </div>
  );
}
