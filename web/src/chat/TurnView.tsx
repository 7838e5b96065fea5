import { AlertTriangle } from "lucide-react";
import { memo, type ReactNode } from "react";
import { noteFailure, isUnreachable } from "../api/server";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { giveUp, retry } from "../store/asking";
import type { Pending } from "../store/conversations";
import { Button } from "../ui/controls";
import { useNow } from "../ui/hooks";
import { messageOf } from "../ui/messageOf";
import { Answer } from "./Answer";
import { Bubble, Question } from "./Question";
import { sameTurn, type Turn } from "./turns";

interface TurnViewProps {
  readonly turn: Turn;
  readonly thread: string;
  readonly last: boolean;
}

export const TurnView = memo(
  function TurnView({ turn, thread, last }: TurnViewProps): ReactNode {
    const { question, answers, pending } = turn;
    return (
      <>
        {question ? <Question message={question} last={last} /> : null}
        {answers.map((answer) => (
          <Answer key={answer.id} message={answer} />
        ))}
        {pending ? <PendingTurn pending={pending} thread={thread} /> : null}
      </>
    );
  },
  (before, after) => before.thread === after.thread && before.last === after.last && sameTurn(before.turn, after.turn),
);

const LONG_MS = 2500;

function PendingTurn({ pending, thread }: { readonly pending: Pending; readonly thread: string }): ReactNode {
  const t = useTranslate(texts);
  const failed = pending.error !== undefined;
  const now = useNow(500, !failed);
  const own = pending.kind !== "regenerate";
  const reason = isUnreachable(pending.error)
    ? t("offlineError")
    : pending.error instanceof DOMException // the reader stopped it
      ? t("canceled")
      : messageOf(pending.error);
  return (
    <>
      {own ? (
        <article className="user-message">
          <h2 className="visually-hidden">{t("you")}</h2>
          <Bubble text={pending.text} parts={pending.parts} />
        </article>
      ) : null}
      {failed ? (
        <div className="error-status" role="alert">
          <AlertTriangle size={18} aria-hidden="true" />
          <div>
            <strong>{own ? t("notSent") : t("errorNothing")}</strong>
            <p>{own ? t("notSentBody", { message: reason }) : reason}</p>
          </div>
          <Button onClick={() => void retry(thread).catch(noteFailure)}>{t("retry")}</Button>
          <Button onClick={() => giveUp(thread)}>{t("dismiss")}</Button>
        </div>
      ) : (
        <div className="live-status">
          <span className="pulse" aria-hidden="true" />
          <span className="live-text">{now - pending.askedMs > LONG_MS ? t("stillSending") : t("sending")}</span>
        </div>
      )}
    </>
  );
}
