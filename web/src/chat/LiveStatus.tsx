import { type ReactNode, useRef } from "react";
import { useStore } from "zustand";
import { reachability } from "../api/server";
import { useLanguage, useTranslate } from "../i18n";
import { formatSeconds } from "../i18n/format";
import { texts } from "../i18n/texts";
import type { Watched } from "../store/answers";
import { useNow } from "../ui/hooks";
import { estimateTokens, Pace } from "./pace";
import { statusText } from "./statusText";
import { type AnswerView, useConnection } from "./useAnswer";

interface LiveStatusProps {
  readonly view: AnswerView;
  readonly watched: Watched | undefined;
  readonly since: number;
  readonly hidden: boolean;
}

/** What is going on, for how long, and how fast: slow never looks like stuck. */
export function LiveStatus({ view, watched, since, hidden }: LiveStatusProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const now = useNow(250, true);
  const pace = useRef(new Pace());
  const characters = view.text.length + view.reasoning.length;
  const rate = pace.current.seen(characters, now);
  const maxTokens = watched?.maxTokens;
  const connection = useConnection(watched)?.status;
  const reachable = useStore(reachability, (state) => state.reachable);
  // Where the page was opened without a server, there is no connection yet.
  const cut = watched ? connection === "reconnecting" || connection === "offline" : !reachable;
  const elapsed = Math.max(0, now - (watched?.askedMs ?? since));
  return (
    <div className="live-status">
      <span className="pulse" aria-hidden="true" />
      <span className="live-text">{cut ? t("waitingForConnection") : statusText(view.state, t, language)}</span>
      <span className="live-figures">
        <span>
          {elapsed >= 1000 ? formatSeconds(Math.floor(elapsed / 1000) * 1000, language).replace(/[.,]0(?= s)/, "") : ""}
        </span>
        {characters && rate !== undefined && !cut ? <span>{t("rate", { n: Math.round(rate) })}</span> : null}
      </span>
      {hidden ? <span className="live-note">{t("hiddenUntilWhole")}</span> : null}
      {maxTokens ? (
        <progress
          className="live-progress"
          aria-label={t("progressLabel")}
          max={maxTokens}
          value={Math.min(maxTokens, estimateTokens(characters))}
        />
      ) : null}
    </div>
  );
}
