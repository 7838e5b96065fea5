import { AlertTriangle, Ban, FileText, RefreshCw, Route } from "lucide-react";
import { memo, type ReactNode, useCallback } from "react";
import { useStore } from "zustand";
import { noteFailure } from "../api/server";
import type { Message } from "../api/types";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { preferences } from "../settings/preferences";
import { regenerate } from "../store/asking";
import { openSources } from "../store/panels";
import { Button, IconButton } from "../ui/controls";
import { BranchSwitch } from "./BranchSwitch";
import { CopyButton } from "./CopyButton";
import { DeleteButton } from "./DeleteButton";
import { LiveStatus } from "./LiveStatus";
import { Prose } from "./Prose";
import { ReasoningBlock } from "./ReasoningBlock";
import { ToolCallCard } from "./ToolCallCard";
import { Signals, UsageLine } from "./UsageLine";
import { type AnswerView, useAnswerState, useWatched, viewOf } from "./useAnswer";
import { useReplay } from "./useReplay";

interface AnswerProps {
  readonly message: Message;
}

/** One answer, live or kept: the same element either way, so that its end draws nothing anew. */
export const Answer = memo(function Answer({ message }: AnswerProps): ReactNode {
  const watched = useWatched(message.stream_id);
  useReplay(message, watched);
  const state = useAnswerState(watched);
  const view = viewOf(message, state);
  const streaming = useStore(preferences, (now) => now.streaming);
  const t = useTranslate(texts);
  const hidden = view.live && !streaming;
  const { sources } = view;
  const onCite = useCallback((n: number) => openSources(sources, n - 1), [sources]);
  return (
    <article className="assistant-message" aria-busy={view.live} data-status={view.status}>
      <h3 className="visually-hidden">{t("assistant")}</h3>
      {view.reasoning ? <ReasoningBlock of={message.id} text={view.reasoning} state={state} live={view.live} /> : null}
      {view.text && !hidden ? (
        <Prose text={view.text} streaming={view.status !== "done"} citations={sources.length} onCite={onCite} />
      ) : null}
      {view.toolCalls.map((call) => (
        <ToolCallCard key={call.index} of={message.id} call={call} live={view.live} />
      ))}
      {view.live ? (
        <LiveStatus view={view} watched={watched} since={Date.parse(message.created_at)} hidden={hidden} />
      ) : (
        <Ended message={message} view={view} />
      )}
    </article>
  );
});

interface EndedProps {
  readonly message: Message;
  readonly view: AnswerView;
}

function Ended({ message, view }: EndedProps): ReactNode {
  const t = useTranslate(texts);
  const again = (): void => void regenerate(message.thread_id, message.id).catch(noteFailure);
  const seams = view.state?.seams.filter((seam) => seam.stage !== "hedging").length ?? 0;
  return (
    <>
      <Outcome view={view} onRetry={again} />
      <div className="answer-foot">
        <div className="message-actions">
          <BranchSwitch message={message} />
          {view.text ? <CopyButton text={view.text} /> : null}
          <IconButton size="small" label={t("regenerate")} data-testid="regenerate-button" onClick={again}>
            <RefreshCw size={15} />
          </IconButton>
          <DeleteButton message={message} />
        </div>
        {view.sources.length ? (
          <button type="button" className="chip button-chip" onClick={() => openSources(view.sources)}>
            <FileText size={14} aria-hidden="true" />
            {t("sources", { n: view.sources.length })}
          </button>
        ) : null}
        <Signals of={message.id} metadata={view.metadata} />
        <UsageLine metadata={view.metadata} usage={view.usage} />
      </div>
      {seams && view.status === "done" ? (
        <p className="seams">
          <Route size={14} aria-hidden="true" /> {t("seams", { n: seams })}
        </p>
      ) : null}
    </>
  );
}

/** How it ended, where that is not simply well. */
function Outcome({ view, onRetry }: { readonly view: AnswerView; readonly onRetry: () => void }): ReactNode {
  const t = useTranslate(texts);
  if (view.status === "cancelled") {
    return (
      <p className="error-status quiet">
        <Ban size={15} aria-hidden="true" /> {t("canceled")}
      </p>
    );
  }
  if (view.status === "failed") {
    return (
      <div className="error-status" role="alert">
        <AlertTriangle size={18} aria-hidden="true" />
        <div>
          <strong>{view.text ? t("errorTitle") : t("errorNothing")}</strong>
          <p>{view.error?.message ?? ""}</p>
        </div>
        <Button onClick={onRetry}>{t("retry")}</Button>
      </div>
    );
  }
  const note =
    view.finishReason === "length" ? t("truncated") : view.finishReason === "content_filter" ? t("filtered") : "";
  return note ? <p className="answer-note">{note}</p> : null;
}
