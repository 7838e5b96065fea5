import { type ReactNode, useEffect } from "react";
import { useStore } from "zustand";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { answers, isOver } from "../store/answers";
import { announce, notices } from "../store/notices";

/** Tells screen readers that an answer has begun and that it has ended, and nothing between. */
export function Announcer({ thread }: { readonly thread: string | undefined }): ReactNode {
  const t = useTranslate(texts);
  const announcement = useStore(notices, (state) => state.announcement);
  const watched = useStore(answers, (state) => state.watched);
  useEffect(() => {
    const stops = [...watched]
      .filter(([, each]) => each.thread === thread && !isOver(each.stream.state))
      .map(([, { stream }]) => {
        let phase = stream.state.phase;
        return stream.subscribe(() => {
          const now = stream.state.phase;
          if (now === phase) return;
          const begun = phase === "waiting" && now === "streaming";
          phase = now;
          if (begun) announce(t("announceStart"));
          else if (now === "done") announce(t("announceDone"));
          else if (now === "failed") announce(t("announceFailed"));
          else if (now === "cancelled") announce(t("announceCanceled"));
        });
      });
    return () => {
      for (const stop of stops) stop();
    };
    // The language may change while an answer runs: what is said next is in the new one.
  }, [watched, thread, t]);
  return (
    <div className="visually-hidden" role="status" aria-live="polite" data-testid="announcer">
      {announcement}
    </div>
  );
}
