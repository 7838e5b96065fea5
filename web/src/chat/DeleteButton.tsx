import { Trash2 } from "lucide-react";
import { type ReactNode, useState } from "react";
import type { Message } from "../api/types";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { deleteMessage } from "../store/conversations";
import { Button, IconButton } from "../ui/controls";
import { Dialog } from "../ui/Dialog";
import { useFail } from "../ui/useFail";

/** Deletes a message with all that follows it, once the reader has said so again. */
export function DeleteButton({ message }: { readonly message: Message }): ReactNode {
  const t = useTranslate(texts);
  const fail = useFail();
  const [asking, setAsking] = useState(false);
  const close = (): void => setAsking(false);
  const remove = (): void => {
    close();
    void deleteMessage(message.thread_id, message.id).catch(fail);
  };
  return (
    <>
      <IconButton size="small" label={t("removeMessage")} data-testid="delete-button" onClick={() => setAsking(true)}>
        <Trash2 size={15} />
      </IconButton>
      {asking ? (
        <Dialog title={t("removeMessageTitle")} testId="delete-dialog" onClose={close}>
          <div className="dialog-body">
            <p>{t("removeMessageBody")}</p>
            <div className="dialog-actions">
              <Button onClick={close}>{t("keep")}</Button>
              <Button tone="danger" onClick={remove}>
                {t("remove")}
              </Button>
            </div>
          </div>
        </Dialog>
      ) : null}
    </>
  );
}
