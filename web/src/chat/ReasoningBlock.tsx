import { ChevronRight } from "lucide-react";
import type { ReactNode } from "react";
import type { AnswerState } from "headwater";
import { useLanguage, useTranslate } from "../i18n";
import { formatSeconds } from "../i18n/format";
import { texts } from "../i18n/texts";
import { useFold } from "../store/folds";
import { useNow } from "../ui/hooks";

/** What took no time that a reader would notice tells none. */
const LEAST_MS = 100;

interface ReasoningBlockProps {
  /** The message's id. */
  readonly of: string;
  readonly text: string;
  readonly state: AnswerState | undefined;
  readonly live: boolean;
}

/** The model's thoughts, folded away, with the time that they took where it was seen. */
export function ReasoningBlock({ of, text, state, live }: ReasoningBlockProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const [open, setOpen] = useFold(`${of} reasoning`);
  const began = state?.reasoningStartedMs;
  const thinking = live && state?.reasoningEndedMs === undefined && !state?.text;
  const now = useNow(1000, thinking);
  const took = began === undefined ? undefined : (state?.reasoningEndedMs ?? now) - began;
  const time = took === undefined || took < LEAST_MS ? "" : formatSeconds(took, language);
  const label = thinking ? t("thinking") : time ? t("thought", { time }) : t("thoughtPlain");
  return (
    <details
      className={thinking ? "reasoning thinking" : "reasoning"}
      data-testid="reasoning"
      open={open}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>
        <ChevronRight size={16} aria-hidden="true" />
        <span>{label}</span>
      </summary>
      {open ? <div className="reasoning-text">{text}</div> : null}
    </details>
  );
}
