import { ChevronLeft, ChevronRight } from "lucide-react";
import type { ReactNode } from "react";
import type { Message } from "../api/types";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { noteFailure } from "../api/server";
import { switchBranch } from "../store/conversations";
import { IconButton } from "../ui/controls";

/** Which of the versions of a message this is, and the way to its neighbours. */
export function BranchSwitch({ message }: { readonly message: Message }): ReactNode {
  const t = useTranslate(texts);
  const { index, count, ids } = message.siblings;
  if (count < 2) return null;
  const go = (to: string | undefined): void => {
    if (to) void switchBranch(message.thread_id, to).catch(noteFailure);
  };
  return (
    <div className="branch-switch" role="group" aria-label={t("branch", { index: index + 1, count })}>
      <IconButton
        size="small"
        label={t("previousBranch")}
        data-testid="branch-prev"
        disabled={index === 0}
        onClick={() => go(ids[index - 1])}
      >
        <ChevronLeft size={16} />
      </IconButton>
      <span aria-hidden="true">
        {index + 1}/{count}
      </span>
      <IconButton
        size="small"
        label={t("nextBranch")}
        data-testid="branch-next"
        disabled={index === count - 1}
        onClick={() => go(ids[index + 1])}
      >
        <ChevronRight size={16} />
      </IconButton>
    </div>
  );
}
