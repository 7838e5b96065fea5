import { Pencil } from "lucide-react";
import { memo, type ReactNode, useEffect, useRef, useState } from "react";
import { noteFailure } from "../api/server";
import type { ContentPart, Message } from "../api/types";
import { useLanguage, useTranslate } from "../i18n";
import { formatTime } from "../i18n/format";
import { texts } from "../i18n/texts";
import { edit } from "../store/asking";
import { Button, IconButton } from "../ui/controls";
import { BranchSwitch } from "./BranchSwitch";
import { CopyButton } from "./CopyButton";
import { DeleteButton } from "./DeleteButton";
import { EDIT_LAST } from "./events";

interface QuestionProps {
  readonly message: Message;
  readonly last: boolean;
}

export const Question = memo(function Question({ message, last }: QuestionProps): ReactNode {
  const t = useTranslate(texts);
  const [editing, setEditing] = useState(false);
  useEffect(() => {
    if (!last) return undefined;
    const begin = (): void => setEditing(true);
    addEventListener(EDIT_LAST, begin);
    return () => removeEventListener(EDIT_LAST, begin);
  }, [last]);
  if (editing) return <EditField message={message} onDone={() => setEditing(false)} />;
  return (
    <article className="user-message">
      <h2 className="visually-hidden">{t("you")}</h2>
      <Bubble text={message.content} parts={message.parts} at={message.created_at} />
      <div className="message-actions">
        <BranchSwitch message={message} />
        <CopyButton text={message.content} />
        <IconButton size="small" label={t("edit")} data-testid="edit-button" onClick={() => setEditing(true)}>
          <Pencil size={15} />
        </IconButton>
        <DeleteButton message={message} />
      </div>
    </article>
  );
});

interface BubbleProps {
  readonly text: string;
  readonly parts: readonly ContentPart[];
  readonly at?: string;
}

export function Bubble({ text, parts, at }: BubbleProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  // Only what the page made itself: nothing is ever loaded from another place.
  const pictures = parts.map((part) => part.image_url?.url ?? "").filter((url) => url.startsWith("data:image/"));
  return (
    <>
      {pictures.length ? (
        <div className="pictures">
          {pictures.map((url) => (
            <img key={url} src={url} alt={t("picture")} />
          ))}
        </div>
      ) : null}
      {text ? (
        <div
          className="bubble"
          // Not before: the first date that a browser writes takes it tens of milliseconds.
          onPointerEnter={({ currentTarget }) => at && (currentTarget.title = formatTime(at, language))}
        >
          {text}
        </div>
      ) : null}
    </>
  );
}

function EditField({ message, onDone }: { readonly message: Message; readonly onDone: () => void }): ReactNode {
  const t = useTranslate(texts);
  const [text, setText] = useState(message.content);
  const ref = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    ref.current?.focus();
    ref.current?.setSelectionRange(message.content.length, message.content.length);
  }, [message.content]);
  const send = (): void => {
    const wanted = text.trim();
    if (!wanted) return;
    onDone();
    void edit(message.thread_id, message.id, { text: wanted, parts: message.parts }).catch(noteFailure);
  };
  return (
    <div className="edit-field">
      <h2 className="visually-hidden">{t("you")}</h2>
      <textarea
        ref={ref}
        aria-label={t("editLabel")}
        value={text}
        rows={Math.min(12, text.split("\n").length + 1)}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === "Escape") {
            event.stopPropagation();
            onDone();
          } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            send();
          }
        }}
      />
      <div className="edit-actions">
        <Button onClick={onDone}>{t("cancelEdit")}</Button>
        <Button tone="primary" disabled={!text.trim()} onClick={send}>
          {t("saveEdit")}
        </Button>
      </div>
    </div>
  );
}
