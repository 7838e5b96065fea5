import { type ComponentType, type ReactNode, useEffect, useState } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { Button } from "../ui/controls";
import { Loading } from "./Loading";
import type { MessageListProps } from "./MessageList";
import { isMarkdownSettled, loadMarkdown } from "./Prose";

let List: ComponentType<MessageListProps> | undefined;

/** What shows a conversation, which the first view does not need: half of the page's code. Never fails. */
export async function loadConversation(): Promise<void> {
  const markdown = loadMarkdown();
  try {
    List = (await import("./MessageList")).MessageList;
  } catch {
    // told by what is shown
  }
  await markdown;
}

interface ConversationProps extends MessageListProps {
  /** There is nothing to read yet, as of a question that was asked just now: texts are not waited for. */
  readonly early: boolean;
}

/** A conversation that is opened is shown with its texts, and not first without them. */
export function Conversation({ early, ...list }: ConversationProps): ReactNode {
  const t = useTranslate(texts);
  const [shown, setShown] = useState(() => List !== undefined && (isMarkdownSettled() || early));
  useEffect(() => {
    if (!shown) void loadConversation().then(() => setShown(true));
  }, [shown]);
  if (!shown) return <Loading />;
  if (List) return <List {...list} />;
  return (
    <div className="opening" role="alert">
      <p>{t("missingPart")}</p>
      <Button tone="primary" onClick={() => location.reload()}>
        {t("reload")}
      </Button>
    </div>
  );
}
