import { AlertCircle, CheckCircle2, FileText, X } from "lucide-react";
import type { ReactNode } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { IconButton } from "../ui/controls";
import { type Attachment, removeAttachment, type Upload } from "./attachments";

interface AttachmentListProps {
  readonly thread: string;
  readonly items: readonly Attachment[];
}

export function AttachmentList({ thread, items }: AttachmentListProps): ReactNode {
  const t = useTranslate(texts);
  if (!items.length) return null;
  return (
    <ul className="attachments">
      {items.map((item) => (
        <li key={item.id} className={`attachment ${item.kind}`} data-testid="attachment">
          {item.kind === "picture" ? <img src={item.url} alt={item.name} /> : <DocumentCard upload={item} />}
          <IconButton
            size="small"
            className="attachment-remove"
            label={t("removeAttachment", { name: item.name })}
            onClick={() => removeAttachment(thread, item.id)}
          >
            <X size={14} />
          </IconButton>
        </li>
      ))}
    </ul>
  );
}

function DocumentCard({ upload }: { readonly upload: Upload }): ReactNode {
  const t = useTranslate(texts);
  const { status, stage, progress, error, passages } = upload;
  const words =
    status === "ready"
      ? t("stage_ready", { n: passages })
      : status === "failed"
        ? t("stage_failed", { message: error })
        : t(`stage_${stage}`);
  return (
    <div className={`document-card ${status}`}>
      <span className="document-icon" aria-hidden="true">
        {status === "ready" ? (
          <CheckCircle2 size={18} />
        ) : status === "failed" ? (
          <AlertCircle size={18} />
        ) : (
          <FileText size={18} />
        )}
      </span>
      <span className="document-words">
        <span className="document-name" title={upload.name}>
          {upload.name}
        </span>
        <span className="document-stage" title={status === "failed" ? error : undefined}>
          {words}
        </span>
        {status === "processing" ? (
          <progress
            aria-label={`${upload.name}: ${words}`}
            {...(progress === undefined ? {} : { value: progress, max: 1 })}
          />
        ) : null}
      </span>
    </div>
  );
}
