import { ChevronRight, Wrench } from "lucide-react";
import type { ToolCallState } from "headwater";
import { memo, type ReactNode } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { useFold } from "../store/folds";
import { Spinner } from "../ui/controls";

/** Arguments come in pieces: JSON once the last one is there. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

interface ToolCallCardProps {
  /** The message's id. */
  readonly of: string;
  readonly call: ToolCallState;
  readonly live: boolean;
}

export const ToolCallCard = memo(function ToolCallCard({ of, call, live }: ToolCallCardProps): ReactNode {
  const t = useTranslate(texts);
  const [open, setOpen] = useFold(`${of} call ${call.index}`);
  return (
    <details
      className="tool-call"
      data-testid="tool-call"
      open={open}
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>
        <Wrench size={15} aria-hidden="true" />
        <span className="visually-hidden">{t("toolCall")}</span>
        <code>{call.name}</code>
        {live ? <Spinner /> : null}
        <ChevronRight className="turning" size={16} aria-hidden="true" />
      </summary>
      <p className="tool-part">{t("toolArguments")}</p>
      <pre tabIndex={0}>{pretty(call.arguments) || "{}"}</pre>
    </details>
  );
});
